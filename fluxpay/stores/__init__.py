"""Adapters to Postgres and Redis: one class per noun, with its SQL beside its use.

The stores know the core's types and the drivers. They know no HTTP and no metric, and never
decide about money: a rule they need is a pure function of the core.
"""
