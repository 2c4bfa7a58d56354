"""Lives of payments to test with: made by the core itself, changed command by command.

A life keeps what a store would keep, the payment and all its transfers, and shows `change` what a
store would show. Knows the books by their entries alone, so it can judge the amounts. Must not
know the lifecycle's rules.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import strategies as st

from fluxpay.core.effects import PostPayment
from fluxpay.core.ledger import Layer, Transfer, TransferKind
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import Change, Command, OpenTransfer, change
from fluxpay.core.payment_creation import create_payment
from fluxpay.core.payments import Action, CaptureMode, Payment, PaymentRequest
from fluxpay.core.problems import Refused
from tests.core.examples import NOW, UUID, claim, tenant

DAY = timedelta(days=1)
BETWEEN_UUIDS = 1 << 80
"""UUIDs that are made a millisecond apart."""
REVERSED = frozenset({TransferKind.AUTHORIZATION, TransferKind.CAPTURE})
TAKES_AN_AMOUNT = frozenset({Action.CAPTURE, Action.REFUND})


@dataclass(frozen=True, slots=True)
class Books:
    """A payment and all its transfers, in the order in which they were written."""

    payment: Payment
    transfers: tuple[Transfer, ...]

    @property
    def open_transfers(self) -> tuple[OpenTransfer, ...]:
        """What `change` is shown: authorizations and captures with what is left of each."""
        reversed_minor: Counter[str | None] = Counter()
        for one in self.transfers:
            reversed_minor[one.reverses] += one.money.amount_minor
        return tuple(
            OpenTransfer(one, one.money.amount_minor - reversed_minor[one.id])
            for one in self.transfers
            if one.kind in REVERSED
        )

    def balance_minor(self, layer: Layer) -> int:
        """What the merchant has in a layer: credits less debits."""
        merchant_id = self.transfers[0].credit.id
        return sum(
            one.money.amount_minor if one.credit.id == merchant_id else -one.money.amount_minor
            for one in self.transfers
            if one.layer is layer
        )

    def changed(self, decided: Change) -> "Books":
        """The books with a change written into them."""
        return Books(decided.payment, (*self.transfers, *decided.transfers))


@dataclass(frozen=True, slots=True)
class Turn:
    """One command in a life, and what came of it."""

    before: Books
    command: Command
    now: datetime
    uuid: int
    decided: Change | Refused
    after: Books


def born(
    amount_minor: int = 1000,
    *,
    capture: CaptureMode = CaptureMode.MANUAL,
    now: datetime = NOW,
) -> Books:
    """A new payment of this many euro cents."""
    request = PaymentRequest(Money(amount_minor, "EUR"), capture)
    effect = next(create_payment(request, tenant=tenant(), claim=claim(), uuid=UUID, now=now))
    assert isinstance(effect, PostPayment)
    return Books(effect.posting.payment, (effect.posting.transfer,))


def ask(books: Books, command: Command, *, uuid: int, now: datetime) -> Turn:
    """Ask for one change, and write it if it is allowed."""
    decided = change(
        books.payment, command, open_transfers=books.open_transfers, uuid=uuid, now=now
    )
    after = books.changed(decided) if isinstance(decided, Change) else books
    return Turn(books, command, now, uuid, decided, after)


def live(books: Books, commands: Iterable[tuple[timedelta, Command]]) -> list[Turn]:
    """Ask for one change after another, each some time after the one before."""
    turns: list[Turn] = []
    now, uuid = NOW, UUID
    for waited, command in commands:
        now, uuid = now + waited, uuid + BETWEEN_UUIDS
        turn = ask(books, command, uuid=uuid, now=now)
        turns.append(turn)
        books = turn.after
    return turns


def after(books: Books, *commands: Command) -> Books:
    """The books after commands that all have to be allowed."""
    turns = live(books, [(timedelta(0), command) for command in commands])
    assert [] == [turn.decided for turn in turns if isinstance(turn.decided, Refused)]
    return turns[-1].after if turns else books


def capture(amount_minor: int | None = None) -> Command:
    return Command(Action.CAPTURE, amount_minor)


def refund(amount_minor: int | None = None, reason: str | None = None) -> Command:
    return Command(Action.REFUND, amount_minor, reason)


VOID = Command(Action.VOID)
EXPIRE = Command(Action.EXPIRE)

# Small amounts, so that a few commands reach every limit, pass it, and meet it exactly.
_AMOUNT_MINOR_MAX = 12
amounts_minor = st.integers(min_value=1, max_value=_AMOUNT_MINOR_MAX)
births = st.builds(
    lambda amount_minor, mode: born(amount_minor, capture=mode),
    amounts_minor,
    # Most are authorized: a payment that is captured at once can only be refunded.
    st.sampled_from([CaptureMode.MANUAL, CaptureMode.MANUAL, CaptureMode.AUTOMATIC]),
)
parts_minor = st.integers(min_value=1, max_value=_AMOUNT_MINOR_MAX // 2)
commands = st.one_of(
    st.builds(Command, st.sampled_from(sorted(TAKES_AN_AMOUNT)), st.one_of(st.none(), parts_minor)),
    st.builds(Command, st.sampled_from(sorted(TAKES_AN_AMOUNT)), parts_minor),
    st.builds(Command, st.sampled_from(Action)),
)
waits = st.sampled_from([timedelta(0), timedelta(0), timedelta(0), DAY, 7 * DAY])
lives = st.builds(live, births, st.lists(st.tuples(waits, commands), min_size=1, max_size=12))
