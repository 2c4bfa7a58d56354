"""What has to be true of payments and their books when a run is over.

Each invariant is one function that raises `Violation`. They add up the transfers themselves, and
must not know the rules that wrote them, nor who asked for what.
"""

from collections import Counter

from fluxpay.core.ledger import AccountKind, Direction, Layer, TransferKind, account, entries
from fluxpay.core.payments import CaptureMode, Payment, Status
from tests.simulation.scheduler import Simulation
from tests.simulation.violation import require

REVERSES = {
    TransferKind.RELEASE: TransferKind.AUTHORIZATION,
    TransferKind.REFUND: TransferKind.CAPTURE,
}


def no_limit_is_passed(run: Simulation) -> None:
    """No more is captured than was authorized, and no more refunded than was captured."""
    for place, payment in run.world.database.payments.items():
        captured, refunded = payment.amount_captured_minor, payment.amount_refunded_minor
        require(captured <= payment.money.amount_minor, f"{place}: {captured} captured")
        require(0 <= refunded <= captured, f"{place}: {refunded} of {captured} refunded")


def transfers_say_what_the_payment_says(run: Simulation) -> None:
    """Posted is what was captured and not refunded, pending is what is open."""
    database = run.world.database
    for place, payment in database.payments.items():
        sums: Counter[TransferKind] = Counter()
        for one in database.transfers[place]:
            require(one.money.currency == payment.money.currency, f"{place}: other currency")
            sums[one.kind] += one.money.amount_minor
        captured, refunded = payment.amount_captured_minor, payment.amount_refunded_minor
        require(sums[TransferKind.CAPTURE] == captured, f"{place}: {sums}, {captured} captured")
        require(sums[TransferKind.REFUND] == refunded, f"{place}: {sums}, {refunded} refunded")
        pending = sums[TransferKind.AUTHORIZATION] - sums[TransferKind.RELEASE]
        is_open = payment.expires_at is not None
        open_minor = payment.money.amount_minor - captured if is_open else 0
        require(pending == open_minor, f"{place}: {pending} pending, {open_minor} open")
        is_manual = payment.capture is CaptureMode.MANUAL
        authorized = payment.money.amount_minor if is_manual else 0
        require(sums[TransferKind.AUTHORIZATION] == authorized, f"{place}: {sums} authorized")
        given = sum(one.money.amount_minor for one in database.refunds[place])
        require(given == refunded, f"{place}: refunds of {given}, {refunded} refunded")


def the_status_is_what_the_amounts_say(run: Simulation) -> None:
    """Nobody is told a state that the money is not in."""
    for place, payment in run.world.database.payments.items():
        require(payment.status in _statuses(payment), f"{place}: {payment}")


def _statuses(payment: Payment) -> set[Status]:
    captured, refunded = payment.amount_captured_minor, payment.amount_refunded_minor
    is_open = payment.expires_at is not None
    if captured == 0:
        return {Status.AUTHORIZED} if is_open else {Status.VOIDED, Status.EXPIRED}
    if refunded == 0:
        return {Status.PARTIALLY_CAPTURED if is_open else Status.CAPTURED}
    is_over = refunded == captured and not is_open
    return {Status.REFUNDED if is_over else Status.PARTIALLY_REFUNDED}


def reversals_name_what_they_reverse(run: Simulation) -> None:
    """A reversal names a transfer of its payment, and all of them take no more than it moved."""
    for place, transfers in run.world.database.transfers.items():
        moved = {one.id: one for one in transfers}
        require(len(moved) == len(transfers), f"{place}: two transfers have one id")
        left_minor = {one.id: one.money.amount_minor for one in transfers}
        for one in transfers:
            origin = moved.get(one.reverses or "")
            kind = None if origin is None else origin.kind
            require(kind is REVERSES.get(one.kind), f"{place}: {one} reverses {origin}")
            if origin is not None:
                left_minor[origin.id] -= one.money.amount_minor
        over = [one for one, left in left_minor.items() if left < 0]
        require(not over, f"{place}: more is reversed than was moved by {over}")


def the_books_balance(run: Simulation) -> None:
    """By tenant, currency and layer, debits equal credits, and the merchant has what is owed."""
    database = run.world.database
    debits: Counter[tuple[str, str, Layer]] = Counter()
    credits_: Counter[tuple[str, str, Layer]] = Counter()
    merchants: Counter[tuple[str, str, Layer]] = Counter()
    owed: Counter[tuple[str, str, Layer]] = Counter()
    for (tenant_id, _), payment in database.payments.items():
        currency = payment.money.currency
        owed[tenant_id, currency, Layer.POSTED] += payment.amount_refundable_minor
        owed[tenant_id, currency, Layer.PENDING] += payment.amount_open_minor
    for (tenant_id, _), transfers in database.transfers.items():
        for entry in (side for one in transfers for side in entries(one)):
            place = (tenant_id, entry.money.currency, entry.layer)
            is_credit = entry.direction is Direction.CREDIT
            (credits_ if is_credit else debits)[place] += entry.money.amount_minor
            if entry.account_id == account(tenant_id, AccountKind.MERCHANT, place[1]).id:
                # What is owed to the merchant is a credit balance.
                signed = entry.money.amount_minor if is_credit else -entry.money.amount_minor
                merchants[place] += signed
    require(debits == credits_, "debits and credits differ")
    require(merchants == owed, "the merchants' balances are not what is owed to them")


def nothing_due_is_left(run: Simulation) -> None:
    """After the world healed, the workers released every authorization whose time is over."""
    left = run.world.database.due(now=run.now(), at_most=1)
    require(not left, f"{left} should have expired")


INVARIANTS = (
    no_limit_is_passed,
    transfers_say_what_the_payment_says,
    the_status_is_what_the_amounts_say,
    reversals_name_what_they_reverse,
    the_books_balance,
    nothing_due_is_left,
)
