"""A real Postgres and a real Valkey out of wheels, for `fluxpay dev` and the tests.

Knows: how to make, start, await and stop a server that nobody installed, in a private folder, so
that it never outlives the process that started it. Linux only, since it leans on
PR_SET_PDEATHSIG and user namespaces.
Must not know: anything about payments, settings or HTTP.
"""
