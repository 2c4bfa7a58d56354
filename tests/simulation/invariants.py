"""What has to be true when a run is over, whatever went wrong in it.

Each invariant is one function that raises `Violation`; with those of `books` they say: nothing
acknowledged is lost, nothing is doubled, one claim has one reply, what is committed together is
there together, the books balance, a refusal moved no money, and everybody got an answer. They judge
the stored state and what clients heard, and must not know how the run came about.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping

from fluxpay.core.events import EventType
from fluxpay.core.ids import IdKind
from fluxpay.core.payments import Action, PaymentRequest, refund_document
from fluxpay.core.problems import Code
from tests.simulation import books
from tests.simulation.people import Client
from tests.simulation.scheduler import Simulation
from tests.simulation.violation import require

# A tenant's tightest quota admits several requests a second, and fewer than 500 clients want five
# answers each at most: ten minutes are ample, unless somebody is told to wait for nothing.
HEALING_MS_MAX = 600_000
REFUSED_UNPAID = frozenset({Code.FRAUD_REJECTED, Code.CURRENCY_NOT_ENABLED})
REFUSED_UNCHANGED = frozenset({Code.INVALID_TRANSITION, Code.AMOUNT_TOO_LARGE})
REFUSED_UNDONE = REFUSED_UNPAID | REFUSED_UNCHANGED | {Code.NOT_FOUND}


def check(run: Simulation) -> None:
    """Check every invariant; the order is from the gravest down."""
    for invariant in INVARIANTS:
        invariant(run)


def nothing_acknowledged_is_lost(run: Simulation) -> None:
    """What a client was told of happened just so, and stands there."""
    database = run.world.database
    told_of = {(place[0], event.data) for place, event in database.events.items()}
    for client in run.clients:
        for answer in client.acknowledged:
            require((client.tenant_id, answer.body) in told_of, f"{client.name}: it is lost")
            _require_as_asked(run, client, json.loads(answer.body))


def _require_as_asked(run: Simulation, client: Client, told: Mapping[str, object]) -> None:
    """The acknowledgement is of what was asked for, and what it names stands there."""
    database, wanted = run.world.database, client.call.request
    payment_id = str(told["payment_id"] if told["object"] == "refund" else told["id"])
    payment = database.payments.get((client.tenant_id, payment_id))
    require(payment is not None, f"{client.name}: {payment_id} is lost")
    if payment is None:
        return
    if isinstance(wanted, PaymentRequest):
        require(payment.money == wanted.money, f"{client.name}: other money")
        require(payment.capture == wanted.capture, f"{client.name}: captured otherwise")
        return
    require(payment_id == wanted.payment_id, f"{client.name}: another payment was changed")
    if wanted.command.action is Action.REFUND:
        given = database.refunds[client.tenant_id, payment_id]
        stands = [one for one in given if refund_document(one) == told]
        require(stands, f"{client.name}: its refund is lost")
        asked_minor = wanted.command.amount_minor
        require(asked_minor in (None, told["amount"]), f"{client.name}: another amount refunded")


def nothing_is_doubled(run: Simulation) -> None:
    """One claim made one payment or one refund at most, counted by what these themselves say."""
    database = run.world.database
    made = Counter(
        (tenant_id, payment.reference) for (tenant_id, _), payment in database.payments.items()
    )
    for place, count in made.items():
        require(count == 1, f"{place}: {count} payments")
    given = Counter(
        (tenant_id, refund.reason)
        for (tenant_id, _), refunds in database.refunds.items()
        for refund in refunds
    )
    for place, count in given.items():
        require(count == 1, f"{place}: {count} refunds")


def one_claim_has_one_reply(run: Simulation) -> None:
    """Every acknowledgement of a claim is its record byte for byte, and no refusal follows one."""
    bodies: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
    for client in run.clients:
        bodies[client.place] |= {answer.body for answer in client.acknowledged}
        turned = client.acknowledged and client.refused is not None
        require(not turned, f"{client.name}: acknowledged, and then refused: {client.refused}")
    for place, different in bodies.items():
        require(len(different) <= 1, f"{place}: {len(different)} different acknowledgements")
        record = run.world.database.records.get(place)
        recorded = set() if record is None else {record.body}
        require(different <= recorded, f"{place}: recorded otherwise than told")


def what_belongs_together_is_there_together(run: Simulation) -> None:
    """Every payment and change has exactly its transfer, event and record; none stands alone."""
    database = run.world.database
    # No two replies of a tenant are the same bytes: each change leaves other amounts behind.
    recorded = Counter(
        (tenant_id, reply.body) for (tenant_id, _), reply in database.records.items()
    )
    told = Counter(
        (tenant_id, event.data)
        for (tenant_id, _), event in database.events.items()
        if event.type is not EventType.PAYMENT_EXPIRED
    )
    require(recorded == told, "events and records differ")
    made = {
        (place[0], transfer.id)
        for place, transfers in database.transfers.items()
        for transfer in transfers
    }
    for tenant_id, event_id in database.events:
        transfer_id = event_id.replace(IdKind.EVENT, IdKind.TRANSFER, 1)
        require((tenant_id, transfer_id) in made, f"{event_id}: nothing moved")
    moved = {place for place, transfers in database.transfers.items() if transfers}
    require(moved == set(database.payments), "payments and transfers differ")


def a_refusal_moved_no_money(run: Simulation) -> None:
    """No refused attempt posted anything, and no client that was refused for good has paid."""
    database = run.world.database
    happened = {event_id for _, event_id in database.events}
    for refused in run.refused_suffixes:
        event_id = f"{IdKind.EVENT}_{refused}"
        require(event_id not in happened, f"{event_id} was refused and yet it happened")
    groups: defaultdict[tuple[str, str, str], list[Client]] = defaultdict(list)
    for client in run.clients:
        groups[*client.place, client.call.fingerprint].append(client)
    final = {
        (*client.place, client.call.fingerprint): was_alone for client, was_alone in run.refusals
    }
    for (tenant_id, key, fingerprint), group in groups.items():
        codes = {client.refused.code if client.refused else None for client in group}
        # An attempt that nobody waits for any more may post after another one was refused: a
        # refusal is kept in Redis alone, so it cannot shut the claim. The next retry would have
        # been told of the payment; nobody retried, so nothing can be said.
        if not codes <= REFUSED_UNDONE or not final[tenant_id, key, fingerprint]:
            continue
        record = database.records.get((tenant_id, key))
        is_done = record is not None and record.fingerprint == fingerprint
        require(not is_done, f"{tenant_id} {key}: everybody was refused, and yet it is done")


def everybody_got_an_answer(run: Simulation) -> None:
    """After the world healed, each client heard all it wanted, in bounded moves and time."""
    waiting = [client.name for client in run.clients if not client.is_done]
    require(not waiting, f"no answer for {waiting}")
    healing_ms = run.now_ms - run.healed_at_ms
    require(healing_ms <= HEALING_MS_MAX, f"it took {healing_ms} ms to answer everybody")
    for client in run.clients:
        if client.is_stranger:
            require(not client.acknowledged, f"{client.name}: changed what is another tenant's")
        if client.refused is not None:
            is_explained = client.refused.code in _explained(client)
            require(is_explained, f"{client.name}: nothing in the run explains {client.refused}")


def _explained(client: Client) -> frozenset[Code]:
    """The final refusals that a client may meet; only a stranger finds nothing there."""
    if client.is_stranger:
        return frozenset({Code.NOT_FOUND})
    asked = REFUSED_UNPAID if client.call.wants == "pay" else REFUSED_UNCHANGED
    return asked | {Code.IDEMPOTENCY_KEY_REUSED}


INVARIANTS = (
    nothing_acknowledged_is_lost,
    nothing_is_doubled,
    one_claim_has_one_reply,
    what_belongs_together_is_there_together,
    *books.INVARIANTS,
    a_refusal_moved_no_money,
    everybody_got_an_answer,
)
