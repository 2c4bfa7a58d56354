"""One request through the whole core, step behind step, in the order of the web chain.

Authentication, rate limit, idempotency, the payment or its change. Knows how the shell composes the
steps and what it keeps for replays. Must not know HTTP: an answer is a status and bytes. It lacks
the web's one-at-a-time gate for twins within a process, so the simulation meets more races than the
service.
"""

from dataclasses import dataclass
from datetime import datetime

from fluxpay.core.credentials import identify
from fluxpay.core.effects import RememberReply, Step
from fluxpay.core.idempotency import (
    Claim,
    Mismatched,
    Replayed,
    Settled,
    StoredReply,
    fingerprint,
    parse_key,
    recall,
    refusal,
)
from fluxpay.core.keys import Scope
from fluxpay.core.limits import Throttled, admit, quotas_for
from fluxpay.core.payment_changes import Command, change_payment
from fluxpay.core.payment_creation import create_payment
from fluxpay.core.payments import Action, PaymentRequest
from fluxpay.core.problems import PROBLEMS, Code, Refused
from fluxpay.core.tenants import Tenant

PATH = "/v1/payments"
LAST_SEGMENTS = {Action.CAPTURE: "capture", Action.VOID: "void", Action.REFUND: "refunds"}


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """What a client wants to be done to a payment."""

    payment_id: str
    command: Command


@dataclass(frozen=True, slots=True)
class Call:
    """A request as a client sends it, each time with the same bytes."""

    authorization: str
    idempotency_key: str
    request: PaymentRequest | ChangeRequest
    body: bytes

    @property
    def wants(self) -> str:
        """What it is about, in a word."""
        return self.request.command.action if isinstance(self.request, ChangeRequest) else "pay"

    @property
    def route(self) -> str:
        """The template of its path."""
        if isinstance(self.request, PaymentRequest):
            return PATH
        return f"{PATH}/{{payment_id}}/{LAST_SEGMENTS[self.request.command.action]}"

    @property
    def fingerprint(self) -> str:
        """What tells it from another request under its key."""
        path = self.route
        if isinstance(self.request, ChangeRequest):
            path = path.format(payment_id=self.request.payment_id)
        return fingerprint("POST", path, self.body)

    @property
    def scope(self) -> Scope:
        """What the key has to be good for."""
        return Scope.REFUNDS_WRITE if self.wants == Action.REFUND else Scope.PAYMENTS_WRITE


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back to the client."""

    status: int
    body: bytes
    code: Code | None = None
    retry_after_s: int = 0
    replayed: bool = False


def serve(call: Call, *, uuid: int, now: datetime) -> Step[Answer]:
    """Answer a call."""
    principal = yield from identify(
        call.authorization, scope=call.scope, client_address="", now=now
    )
    if isinstance(principal, Refused):
        return _refused(principal)
    tenant = principal.tenant
    quotas = quotas_for(tenant.spec.rate_limits, method="POST", route=call.route)
    admission = yield from admit(tenant.id, quotas)
    if isinstance(admission, Throttled):
        return _refused(admission.refusal())
    key = parse_key(call.idempotency_key)
    if isinstance(key, Refused):
        return _refused(key)
    claim = Claim(tenant.id, key, call.fingerprint)
    recalled = yield from recall(claim)
    match recalled:
        case Replayed(reply):
            return _replied(reply, replayed=True)
        case Mismatched():
            return _refused(refusal(recalled))
        case None:
            return (yield from _write(call, tenant=tenant, claim=claim, uuid=uuid, now=now))


def _write(call: Call, *, tenant: Tenant, claim: Claim, uuid: int, now: datetime) -> Step[Answer]:
    wanted = call.request
    if isinstance(wanted, PaymentRequest):
        step = create_payment(wanted, tenant=tenant, claim=claim, uuid=uuid, now=now)
    else:
        payment_id, command = wanted.payment_id, wanted.command
        step = change_payment(payment_id, command, claim=claim, uuid=uuid, now=now)
    outcome = yield from step
    if isinstance(outcome, Settled):
        yield from RememberReply(claim, outcome.reply)
        return _replied(outcome.reply, replayed=outcome.replayed)
    answer = _refused(outcome)
    if PROBLEMS[outcome.code].stored:
        kept = StoredReply(claim.fingerprint, answer.status, answer.body)
        yield from RememberReply(claim, kept)
    return answer


def _replied(reply: StoredReply, *, replayed: bool) -> Answer:
    # A cached refusal is known by its body alone, as it is to the web.
    code = None if reply.status < 400 else Code(reply.body.decode())
    return Answer(reply.status, reply.body, code, replayed=replayed)


def _refused(refused: Refused) -> Answer:
    return Answer(
        PROBLEMS[refused.code].status,
        refused.code.encode(),
        refused.code,
        retry_after_s=refused.retry_after_s or 0,
    )
