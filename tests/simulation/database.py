"""A database in a few dicts: what it takes in stays, whatever happens to the processes around it.

Knows what the schema promises (what is unique, what is committed together) and calls the same pure
rules that the real stores call. Must not know time, chance or the scheduler: every method is one
transaction, and nothing can come in between. The contract suite holds it and Postgres together.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime

from fluxpay.core.credentials import Credential
from fluxpay.core.effects import ListPayments
from fluxpay.core.events import Event
from fluxpay.core.idempotency import (
    Claim,
    Expired,
    Mismatched,
    Posted,
    Replayed,
    StoredReply,
    settle,
)
from fluxpay.core.keys import ApiKey, KeyOutcome, KeyWritten, register_key
from fluxpay.core.ledger import Entry, Transfer, entries
from fluxpay.core.payments import Payment, PaymentFilter, Posting
from fluxpay.core.tenants import Registration, Tenant, TenantSpec, Written, register

KeyOfTenant = tuple[str, str]
"""A tenant's id, and an id or an idempotency key of that tenant."""


@dataclass(slots=True)
class Database:
    """The durable half of the world.

    Args:
        claims: The payment that each idempotency key of a tenant made.
    """

    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[KeyOfTenant, ApiKey] = field(default_factory=dict)
    payments: dict[KeyOfTenant, Payment] = field(default_factory=dict)
    claims: dict[KeyOfTenant, str] = field(default_factory=dict)
    transfers: dict[KeyOfTenant, Transfer] = field(default_factory=dict)
    events: dict[KeyOfTenant, Event] = field(default_factory=dict)
    records: dict[KeyOfTenant, StoredReply] = field(default_factory=dict)

    def post(self, posting: Posting) -> Posted | Replayed | Mismatched | Expired:
        """Commit payment, transfer, record and event together, unless the claim is taken."""
        taken = self.find_record(posting.claim)
        if isinstance(taken, StoredReply):
            return settle(posting.claim, taken)
        if taken is not None:
            return taken
        self.insert_payment(posting)
        self.insert_record(posting)
        return Posted()

    def insert_payment(self, posting: Posting) -> None:
        """Write the payment with its transfer and event."""
        claim, payment_id = posting.claim, posting.payment.id
        self.payments[claim.tenant_id, payment_id] = posting.payment
        self.claims[claim.tenant_id, claim.key] = payment_id
        self.transfers[claim.tenant_id, payment_id] = posting.transfer
        self.events[claim.tenant_id, payment_id] = posting.event

    def insert_record(self, posting: Posting) -> None:
        """Write the idempotency record."""
        self.records[posting.claim.tenant_id, posting.claim.key] = posting.reply

    def find_record(self, claim: Claim) -> StoredReply | Expired | None:
        """The reply under the claim's key; `Expired` where only the payment is left."""
        place = (claim.tenant_id, claim.key)
        if place in self.records:
            return self.records[place]
        return Expired(self.claims[place]) if place in self.claims else None

    def list_payments(self, effect: ListPayments) -> tuple[Payment, ...]:
        """The newest payments that pass the filter."""
        own = (
            one for (tenant_id, _), one in self.payments.items() if tenant_id == effect.tenant_id
        )
        older = (one for one in own if effect.after is None or one.id < effect.after)
        shown = (one for one in older if _passes(one, effect.filter))
        return tuple(sorted(shown, key=lambda one: one.id, reverse=True)[: effect.limit])

    def list_entries(self, tenant_id: str, payment_id: str) -> tuple[Entry, ...] | None:
        """The entries of a payment, if this tenant has it."""
        transfer = self.transfers.get((tenant_id, payment_id))
        return None if transfer is None else entries(transfer)

    def put_tenant(self, tenant_id: str, spec: TenantSpec, *, now: datetime) -> Registration:
        """Write the tenant as `register` decides."""
        decision = register(tenant_id, spec, observed=self.tenants.get(tenant_id), now=now)
        if isinstance(decision, Written):
            self.tenants[tenant_id] = decision.tenant
        return decision

    def list_tenants(self, *, after: str | None, limit: int) -> tuple[Tenant, ...]:
        """Tenants in the order of their ids."""
        ids = sorted(one for one in self.tenants if after is None or one > after)
        return tuple(self.tenants[one] for one in ids[:limit])

    def close_tenant(self, tenant_id: str, *, now: datetime) -> Tenant | None:
        """Close the tenant and revoke its keys; a closed one stays as it is."""
        tenant = self.tenants.get(tenant_id)
        if tenant is None or tenant.closed_at is not None:
            return tenant
        self.tenants[tenant_id] = replace(tenant, closed_at=now)
        for key in self.list_keys(tenant_id) or ():
            self.revoke_key(tenant_id, key.id, now=now)
        return self.tenants[tenant_id]

    def put_key(self, key: ApiKey) -> KeyOutcome:
        """Write the key as `register_key` decides."""
        holder = next((place for place, one in self.keys.items() if one.digest == key.digest), None)
        outcome = register_key(
            key,
            tenant=self.tenants.get(key.tenant_id),
            observed=self.keys.get((key.tenant_id, key.id)),
            digest_holder=holder,
        )
        if isinstance(outcome, KeyWritten):
            self.keys[key.tenant_id, key.id] = outcome.key
        return outcome

    def list_keys(self, tenant_id: str) -> tuple[ApiKey, ...] | None:
        """All keys of a tenant, if there is one."""
        if tenant_id not in self.tenants:
            return None
        return tuple(key for key in self.keys.values() if key.tenant_id == tenant_id)

    def revoke_key(self, tenant_id: str, key_id: str, *, now: datetime) -> ApiKey | None:
        """Revoke one key; a revoked one keeps its instant."""
        key = self.keys.get((tenant_id, key_id))
        if key is not None and key.revoked_at is None:
            key = replace(key, revoked_at=now)
            self.keys[tenant_id, key_id] = key
        return key

    def find_key(self, digest: str) -> Credential | None:
        """The key of this digest with its tenant."""
        key = next((one for one in self.keys.values() if one.digest == digest), None)
        return None if key is None else Credential(key, self.tenants[key.tenant_id])


def _passes(payment: Payment, wanted: PaymentFilter) -> bool:
    return (
        wanted.status in (None, payment.status)
        and wanted.currency in (None, payment.money.currency)
        and wanted.reference in (None, payment.reference)
        and (wanted.created_gte is None or wanted.created_gte <= payment.created_at)
        and (wanted.created_lt is None or payment.created_at < wanted.created_lt)
    )
