"""The sans-IO core: every decision FluxPay takes, as pure values and generators.

Imports the standard library and itself only. It must not know clocks, randomness, sockets,
drivers or logging; `now`, ids and entropy are arguments.
"""
