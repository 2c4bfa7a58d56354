"""Who takes part: tenants with their keys, and clients that repeat a call until it is answered.

A client behaves as the documentation tells it to: the same key and bytes on every try, no try
before `Retry-After`, no end before an answer that is final. Some ask again after they were paid,
some share their claim with a twin, some have a rival under the same key. Must not know the world.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random

from fluxpay.core.credentials import digest, mint, shown_prefix
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.limits import Quota
from fluxpay.core.money import Money
from fluxpay.core.payments import PaymentRequest
from fluxpay.core.problems import Code
from fluxpay.core.tenants import Environment, TenantSpec, TenantState
from tests.simulation.chain import Answer, Call

BEGIN_MS = 1_772_366_400_000
BEGIN = datetime.fromtimestamp(BEGIN_MS / 1000, UTC)
ORDERS_PER_TENANT = 75
CURRENCIES = ("EUR", "JPY", "KWD")
# Refusals after which the client may try again; any other one is final.
PASSING = frozenset({Code.RATE_LIMITED, Code.TENANT_SUSPENDED})
SUSPENDED_WAIT_MS = 300


@dataclass(frozen=True, slots=True)
class Member:
    """A tenant and its key."""

    tenant_id: str
    token: str
    key: ApiKey
    spec: TenantSpec


@dataclass(slots=True)
class Client:
    """Someone who wants one order paid.

    Args:
        asks: How often it still wants to hear that it was paid.
        attempt: The attempt whose answer it waits for.
    """

    name: str
    tenant_id: str
    call: Call
    asks: int
    attempt: int | None = None
    wait_until_ms: int = 0
    acknowledged: list[Answer] = field(default_factory=list)
    refused: Answer | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has heard all it wanted to hear."""
        return self.refused is not None or self.asks == 0

    @property
    def place(self) -> tuple[str, str]:
        """Where the claim stands; the call's twins and rivals share it."""
        return (self.tenant_id, self.call.idempotency_key)

    def hear(self, answer: Answer | None, *, now_ms: int) -> None:
        """Take in an answer; None is a fault or a silence, after which it just tries again."""
        self.attempt = None
        if answer is None:
            return
        if answer.status == 201:
            self.acknowledged.append(answer)
            self.asks -= 1
        elif answer.code in PASSING:
            self.wait_until_ms = now_ms + (answer.retry_after_s * 1000 or SUSPENDED_WAIT_MS)
        else:
            self.refused = answer


def make_members() -> list[Member]:
    """Three tenants: one without limits, one with tight quotas, one with tight payment limits."""
    quotas = (
        Quota("default", requests=12, window_s=2, burst=18),
        Quota("payments", requests=8, window_s=1, route="POST /v1/payments"),
    )
    limits = tuple(
        PaymentLimit(
            currency,
            max_amount_minor=1700,
            daily_volume_minor=60_000,
            velocity_count=3,
            velocity_window_s=5,
        )
        for currency in CURRENCIES
    )
    return [
        _member(1, quotas=(), limits=()),
        _member(2, quotas=quotas, limits=()),
        _member(3, quotas=(), limits=limits),
    ]


def make_clients(random: Random, members: list[Member]) -> list[Client]:
    """Clients of all tenants in the order in which they come; all use the same keys."""
    clients: list[Client] = []
    for number in range(ORDERS_PER_TENANT):
        for member in members:
            key = f"order-{number}"
            call = _call(member, key, _money(random))
            clients.append(_client(random, member, call=call, name="first"))
            if random.random() < 0.3:
                clients.append(_client(random, member, call=call, name="twin"))
            if random.random() < 0.2:
                rival = _call(member, key, _money(random))
                clients.append(_client(random, member, call=rival, name="rival"))
    return clients


def _member(number: int, *, quotas: tuple[Quota, ...], limits: tuple[PaymentLimit, ...]) -> Member:
    tenant_id, key_id = encode(IdKind.TENANT, number), encode(IdKind.KEY, number)
    token = mint(Environment.TEST, key_id, bytes([number]) * 24)
    key = ApiKey(
        id=key_id,
        tenant_id=tenant_id,
        name="simulated",
        prefix=shown_prefix(Environment.TEST, key_id),
        digest=digest(token),
        scopes=frozenset({Scope.PAYMENTS_WRITE}),
        created_at=BEGIN,
    )
    spec = TenantSpec(
        generation=1,
        display_name=f"Tenant {number}",
        environment=Environment.TEST,
        state=TenantState.ACTIVE,
        currencies=CURRENCIES,
        rate_limits=quotas,
        payment_limits=limits,
    )
    return Member(tenant_id, token, key, spec)


def _money(random: Random) -> Money:
    return Money(random.randint(1, 2000), random.choice(CURRENCIES))


def _call(member: Member, key: str, money: Money) -> Call:
    # The reference names the claim's place, so a double payment shows in the payments alone.
    request = PaymentRequest(money=money, reference=key)
    return Call(f"Bearer {member.token}", key, request, body=str(money).encode())


def _client(random: Random, member: Member, *, call: Call, name: str) -> Client:
    return Client(
        name=f"{member.tenant_id} {call.idempotency_key} {name}",
        tenant_id=member.tenant_id,
        call=call,
        asks=random.choice((1, 2, 3, 5)),
    )
