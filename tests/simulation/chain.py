"""One request through the whole core, step behind step, in the order of the web chain.

Authentication, rate limit, idempotency, the payment. Knows how the shell composes the steps and
what it keeps for replays. Must not know HTTP: an answer is a status and bytes. It lacks the web's
one-at-a-time gate for twins within a process, so the simulation meets more races than the service.
"""

from dataclasses import dataclass
from datetime import datetime

from fluxpay.core.credentials import identify
from fluxpay.core.effects import RememberReply, Step
from fluxpay.core.idempotency import (
    Claim,
    Mismatched,
    Replayed,
    StoredReply,
    fingerprint,
    parse_key,
    recall,
    refusal,
)
from fluxpay.core.keys import Scope
from fluxpay.core.limits import Throttled, admit, quotas_for
from fluxpay.core.payments import PaymentRequest, Settled, create_payment
from fluxpay.core.problems import PROBLEMS, Code, Refused
from fluxpay.core.tenants import Tenant

PATH = "/v1/payments"


@dataclass(frozen=True, slots=True)
class Call:
    """A request as a client sends it, each time with the same bytes."""

    authorization: str
    idempotency_key: str
    request: PaymentRequest
    body: bytes


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
        call.authorization, scope=Scope.PAYMENTS_WRITE, client_address="", now=now
    )
    if isinstance(principal, Refused):
        return _refused(principal)
    tenant = principal.tenant
    quotas = quotas_for(tenant.spec.rate_limits, method="POST", route=PATH)
    admission = yield from admit(tenant.id, quotas)
    if isinstance(admission, Throttled):
        return _refused(admission.refusal())
    key = parse_key(call.idempotency_key)
    if isinstance(key, Refused):
        return _refused(key)
    claim = Claim(tenant.id, key, fingerprint("POST", PATH, call.body))
    recalled = yield from recall(claim)
    match recalled:
        case Replayed(reply):
            return _replied(reply, replayed=True)
        case Mismatched():
            return _refused(refusal(recalled))
        case None:
            return (yield from _create(call, tenant=tenant, claim=claim, uuid=uuid, now=now))


def _create(call: Call, *, tenant: Tenant, claim: Claim, uuid: int, now: datetime) -> Step[Answer]:
    outcome = yield from create_payment(
        call.request, tenant=tenant, claim=claim, uuid=uuid, now=now
    )
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
