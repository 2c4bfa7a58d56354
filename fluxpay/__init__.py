"""FluxPay: multi-tenant payments over a transactional double-entry ledger."""

__version__ = "0.1.0"
