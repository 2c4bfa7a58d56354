"""The web shell: sockets in front, the core in the middle, the stores behind.

Knows HTTP and the order in which a request passes its gates. It decides nothing about money:
every decision is a step of the core, driven by `driver.drive`.
"""
