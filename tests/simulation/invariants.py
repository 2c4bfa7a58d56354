"""What has to be true when a run is over, whatever went wrong in it.

Each invariant is one function that raises `Violation`; together they say: nothing acknowledged is
lost, nothing is doubled, one claim has one reply, what is committed together is there together, the
books balance, a refusal moved no money, and everybody got an answer. They judge the stored state
and what clients heard, and must not know how the run came about.
"""

import json
from collections import Counter, defaultdict

from fluxpay.core.idempotency import fingerprint
from fluxpay.core.ledger import AccountKind, Direction, account, entries
from fluxpay.core.payments import document, encode
from fluxpay.core.problems import Code
from tests.simulation.chain import PATH
from tests.simulation.people import Client
from tests.simulation.scheduler import Simulation

# A tenant's tightest quota admits several requests a second, and fewer than 500 clients want five
# answers each at most: ten minutes are ample, unless somebody is told to wait for nothing.
HEALING_MS_MAX = 600_000
REFUSED_UNPAID = frozenset({Code.FRAUD_REJECTED, Code.CURRENCY_NOT_ENABLED})


class Violation(AssertionError):
    """An invariant does not hold."""


def require(holds: object, what: str) -> None:
    """Raise a violation unless this holds."""
    if not holds:
        raise Violation(what)


def check(run: Simulation) -> None:
    """Check every invariant; the order is from the gravest down."""
    for invariant in INVARIANTS:
        invariant(run)


def nothing_acknowledged_is_lost(run: Simulation) -> None:
    """Whoever heard 201 heard of a payment that stands there, just as it was told."""
    database = run.world.database
    for client in run.clients:
        for answer in client.acknowledged:
            told = json.loads(answer.body)
            payment = database.payments.get((client.tenant_id, told["id"]))
            require(payment is not None, f"{client.name}: {told['id']} is lost")
            if payment is None:
                continue
            require(encode(document(payment)) == answer.body, f"{client.name}: told otherwise")
            require(payment.money == client.call.request.money, f"{client.name}: other money")


def nothing_is_doubled(run: Simulation) -> None:
    """One claim made one payment at most, counted by what the payments themselves say."""
    made = Counter(
        (tenant_id, payment.reference)
        for (tenant_id, _), payment in run.world.database.payments.items()
    )
    for place, count in made.items():
        require(count == 1, f"{place}: {count} payments")


def one_claim_has_one_reply(run: Simulation) -> None:
    """Every acknowledgement of a claim has the same bytes, and none is followed by a refusal."""
    bodies: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
    for client in run.clients:
        bodies[client.place] |= {answer.body for answer in client.acknowledged}
        turned = client.acknowledged and client.refused is not None
        require(not turned, f"{client.name}: acknowledged, and then refused: {client.refused}")
    for place, different in bodies.items():
        require(len(different) <= 1, f"{place}: {len(different)} different acknowledgements")


def what_belongs_together_is_there_together(run: Simulation) -> None:
    """Every payment has exactly its transfer, its event and its record; none stands alone."""
    database = run.world.database
    require(
        set(database.payments) == set(database.transfers) == set(database.events),
        "payments, transfers and events differ",
    )
    recorded = {
        (tenant_id, json.loads(reply.body)["id"]): reply
        for (tenant_id, _), reply in database.records.items()
    }
    require(len(recorded) == len(database.records), "two records name one payment")
    require(set(recorded) == set(database.payments), "payments and records differ")
    for place, payment in database.payments.items():
        transfer, event = database.transfers[place], database.events[place]
        require(transfer.money == payment.money, f"{place}: the transfer moves other money")
        require(event.subject_id == payment.id, f"{place}: the event is about something else")
        require(event.data == recorded[place].body, f"{place}: event and record differ")


def the_books_balance(run: Simulation) -> None:
    """By tenant and currency, debits equal credits, and the merchant has what was paid."""
    database = run.world.database
    debits: Counter[tuple[str, str]] = Counter()
    credits_: Counter[tuple[str, str]] = Counter()
    merchants: Counter[tuple[str, str]] = Counter()
    paid: Counter[tuple[str, str]] = Counter()
    for (tenant_id, _), payment in database.payments.items():
        paid[tenant_id, payment.money.currency] += payment.money.amount_minor
    for (tenant_id, _), transfer in database.transfers.items():
        for entry in entries(transfer):
            place, amount_minor = (tenant_id, entry.money.currency), entry.money.amount_minor
            side = debits if entry.direction is Direction.DEBIT else credits_
            side[place] += amount_minor
            if entry.account_id == account(tenant_id, AccountKind.MERCHANT, place[1]).id:
                # What is owed to the merchant is a credit balance.
                is_credit = entry.direction is Direction.CREDIT
                merchants[place] += amount_minor if is_credit else -amount_minor
    require(debits == credits_, "debits and credits differ")
    require(merchants == paid, "the merchants' balances are not what was paid")


def a_refusal_moved_no_money(run: Simulation) -> None:
    """No refused attempt posted anything, and no client that was refused for good has paid."""
    database = run.world.database
    posted = {payment_id for _, payment_id in database.payments}
    for payment_id in run.refused_payment_ids:
        require(payment_id not in posted, f"{payment_id} was refused and posted")
    groups: defaultdict[tuple[str, str, bytes], list[Client]] = defaultdict(list)
    for client in run.clients:
        groups[*client.place, client.call.body].append(client)
    final = {(*client.place, client.call.body): was_alone for client, was_alone in run.refusals}
    for (tenant_id, key, body), group in groups.items():
        codes = {client.refused.code if client.refused else None for client in group}
        # An attempt that nobody waits for any more may post after another one was refused: a
        # refusal is kept in Redis alone, so it cannot shut the claim. The next retry would have
        # been told of the payment; nobody retried, so nothing can be said.
        if not codes <= REFUSED_UNPAID or not final[tenant_id, key, body]:
            continue
        record = database.records.get((tenant_id, key))
        paid = record is not None and record.fingerprint == fingerprint("POST", PATH, body)
        require(not paid, f"{tenant_id} {key}: everybody was refused, and yet it is paid")


def everybody_got_an_answer(run: Simulation) -> None:
    """After the world healed, each client heard all it wanted, in bounded moves and time."""
    waiting = [client.name for client in run.clients if not client.is_done]
    require(not waiting, f"no answer for {waiting}")
    healing_ms = run.now_ms - run.healed_at_ms
    require(healing_ms <= HEALING_MS_MAX, f"it took {healing_ms} ms to answer everybody")
    expired = [
        client.name
        for client in run.clients
        if client.refused is not None and client.refused.status != 422
    ]
    require(not expired, f"a refusal that nothing in the run explains for {expired}")


INVARIANTS = (
    nothing_acknowledged_is_lost,
    nothing_is_doubled,
    one_claim_has_one_reply,
    what_belongs_together_is_there_together,
    the_books_balance,
    a_refusal_moved_no_money,
    everybody_got_an_answer,
)
