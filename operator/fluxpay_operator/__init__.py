"""The Kubernetes operator: `Tenant` resources become tenants, API keys and Secrets.

It speaks to the service's admin API and to Kubernetes, and never to a database. It must not
import the web, the worker or the embedded servers: it ships in the same wheel and runs alone.
"""
