"""Who takes part: tenants with their keys, and clients that repeat a call until it is answered.

Some want an order paid; when it is, others come to capture, void or refund that payment, more of it
than there is, and now and then one to whom it does not belong.

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
from fluxpay.core.payment_changes import Command
from fluxpay.core.payments import Action, CaptureMode, PaymentRequest
from fluxpay.core.problems import Code
from fluxpay.core.tenants import Environment, TenantSpec, TenantState
from tests.simulation.chain import Answer, Call, ChangeRequest

BEGIN_MS = 1_772_366_400_000
BEGIN = datetime.fromtimestamp(BEGIN_MS / 1000, UTC)
ORDERS_PER_TENANT = 50
CHANGES_MAX = 5
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
    """Someone who wants one order paid, or one change of a payment made.

    Args:
        asks: How often it still wants to hear that it was done.
        is_stranger: Whether it asks for a payment of another tenant.
        attempt: The attempt whose answer it waits for.
    """

    name: str
    tenant_id: str
    call: Call
    asks: int
    is_stranger: bool = False
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
        if answer.code is None:
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
            call, rival = (_payment_call(random, member, key) for _ in range(2))
            clients += _crowd(random, call, rival=rival, tenant_id=member.tenant_id)
    return clients


def make_followers(
    random: Random, members: list[Member], payer: Client, *, payment_id: str
) -> list[Client]:
    """Who comes once an order is paid: none to several, each to change the payment."""
    wanted = payer.call.request
    if not isinstance(wanted, PaymentRequest):
        return []
    clients: list[Client] = []
    for number in range(random.randint(0, CHANGES_MAX)):
        is_stranger = random.random() < 0.05
        member = random.choice(
            [one for one in members if (one.tenant_id != payer.tenant_id) is is_stranger]
        )
        # Named after the payer, so that a stranger's key is never one of its own tenant's.
        key = f"{payer.call.idempotency_key}/{number}-of-{payer.tenant_id}"
        call, rival = (
            _change_call(member, key, payment_id, _command(random, key, wanted.money.amount_minor))
            for _ in range(2)
        )
        clients += _crowd(
            random, call, rival=rival, tenant_id=member.tenant_id, is_stranger=is_stranger
        )
    return clients


def _crowd(
    random: Random, call: Call, *, rival: Call, tenant_id: str, is_stranger: bool = False
) -> list[Client]:
    """One who asks; sometimes a twin with the same claim, and a rival under the same key."""
    calls = {"first": call}
    if random.random() < 0.3:
        calls["twin"] = call
    if random.random() < 0.2:
        calls["rival"] = rival
    return [
        Client(
            name=f"{tenant_id} {one.idempotency_key} {one.wants} {name}",
            tenant_id=tenant_id,
            call=one,
            asks=random.choice((1, 2, 3, 5)),
            is_stranger=is_stranger,
        )
        for name, one in calls.items()
    ]


def _member(number: int, *, quotas: tuple[Quota, ...], limits: tuple[PaymentLimit, ...]) -> Member:
    tenant_id, key_id = encode(IdKind.TENANT, number), encode(IdKind.KEY, number)
    token = mint(Environment.TEST, key_id, bytes([number]) * 24)
    key = ApiKey(
        id=key_id,
        tenant_id=tenant_id,
        name="simulated",
        prefix=shown_prefix(Environment.TEST, key_id),
        digest=digest(token),
        scopes=frozenset({Scope.PAYMENTS_WRITE, Scope.REFUNDS_WRITE}),
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


def _payment_call(random: Random, member: Member, key: str) -> Call:
    # The reference names the claim's place, so a double payment shows in the payments alone.
    request = PaymentRequest(
        Money(random.randint(1, 2000), random.choice(CURRENCIES)),
        # Most are captured by hand: only those have a life.
        random.choice((CaptureMode.AUTOMATIC, CaptureMode.MANUAL, CaptureMode.MANUAL)),
        reference=key,
    )
    body = f"{request.money} {request.capture}".encode()
    return Call(f"Bearer {member.token}", key, request, body)


def _command(random: Random, key: str, amount_minor: int) -> Command:
    """A capture, refund or void; the amounts of several will not fit into the payment's."""
    action = random.choice(
        (Action.CAPTURE, Action.CAPTURE, Action.REFUND, Action.REFUND, Action.VOID)
    )
    if action is Action.VOID:
        return Command(action)
    part_minor = random.choice((None, random.randint(1, amount_minor)))
    # The reason names the claim's place, so a double refund shows in the refunds alone.
    return Command(action, part_minor, reason=key if action is Action.REFUND else None)


def _change_call(member: Member, key: str, payment_id: str, command: Command) -> Call:
    body = f"{command.amount_minor} {command.reason}".encode()
    return Call(f"Bearer {member.token}", key, ChangeRequest(payment_id, command), body)
