"""The worker: what is due without anybody asking for it."""
