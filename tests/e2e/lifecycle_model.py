"""What a tenant's payments and books must look like, in plain Python.

Knows the promises of the interface, and each in its simplest form: a balance is the sum of all
that was ever posted. Shares no line with the service. Must not know HTTP.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

GROWS_BY: Final = {"merchant": "credit", "platform": "debit", "reserve": "credit"}


class Account(NamedTuple):
    """An account by what it is; a tenant has one of each."""

    kind: str
    currency: str


@dataclass(frozen=True, slots=True)
class Move:
    """Money that went from one account to another; pending where it was only set aside."""

    kind: str
    debit: Account
    credit: Account
    amount: int

    @property
    def layer(self) -> str:
        return "pending" if self.kind in {"authorization", "release"} else "posted"

    @property
    def sides(self) -> tuple[tuple[Account, str], tuple[Account, str]]:
        return (self.debit, "debit"), (self.credit, "credit")


@dataclass(frozen=True, slots=True)
class Booked:
    """A move, and the instant it was booked at."""

    move: Move
    at: datetime


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a command that is not possible must be answered with."""

    status: int
    code: str
    members: dict[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class PaymentModel:
    """A payment; amounts in minor units."""

    amount: int
    currency: str
    is_open: bool
    """Whether the authorization still stands; a payment that is taken at once has none."""
    captures: list[int] = field(default_factory=list)
    """What is left of each capture, oldest first."""
    captured: int = 0
    refunded: int = 0
    is_due: bool = False
    ended: str = ""
    """How it ended, where nothing was ever captured."""

    @property
    def open_amount(self) -> int:
        return self.amount - self.captured if self.is_open else 0

    @property
    def status(self) -> str:
        if self.captured == 0:
            return self.ended or "authorized"
        if self.refunded == 0:
            return "partially_captured" if self.is_open else "captured"
        is_over = self.refunded == self.captured and not self.is_open
        return "refunded" if is_over else "partially_refunded"

    @property
    def allowed(self) -> list[str]:
        possible = {
            "capture": self.is_open and not self.is_due,
            "void": self.is_open,
            "refund": self.captured > self.refunded,
        }
        return [action for action, is_possible in possible.items() if is_possible]

    @property
    def shown(self) -> dict[str, object]:
        """What clients are told of it that can change."""
        return {
            "status": self.status,
            "amount": self.amount,
            "amount_captured": self.captured,
            "amount_refunded": self.refunded,
        }

    def made(self) -> list[Move]:
        """The first move of a payment."""
        if self.is_open:
            return [self._received("authorization", self.amount)]
        return [self._take(self.amount)]

    def change(self, action: str, amount: int | None) -> list[Move] | Refusal:
        """Do it, if it can be done."""
        if action not in self.allowed:
            told: dict[str, object] = {"payment_status": self.status, "allowed": self.allowed}
            return Refusal(409, "invalid_transition", told)
        left = self.captured - self.refunded if action == "refund" else self.open_amount
        wanted = left if amount is None else amount
        if wanted > left:
            return Refusal(422, "amount_too_large", {"limit": left})
        if action == "capture":
            taken = self._take(wanted)
            self.is_open = self.captured < self.amount
            return [taken, self._given_back("release", wanted)]
        if action == "refund":
            self.refunded += wanted
            return list(self._reverse(wanted))
        return self.release("voided")

    def release(self, ended: str) -> list[Move]:
        """Let go of what is still set aside, by a void or because its time is over."""
        left = self.open_amount
        self.is_open = False
        self.ended = ended if self.captured == 0 else ""
        return [self._given_back("release", left)]

    def _take(self, amount: int) -> Move:
        self.captured += amount
        self.captures.append(amount)
        return self._received("capture", amount)

    def _reverse(self, amount: int) -> Iterator[Move]:
        """A refund reverses the oldest captures first, each by a move of its own."""
        for at, left in enumerate(self.captures):
            part = min(left, amount)
            if part:
                self.captures[at] -= part
                amount -= part
                yield self._given_back("refund", part)

    def _received(self, kind: str, amount: int) -> Move:
        platform, merchant = self.accounts
        return Move(kind, platform, merchant, amount)

    def _given_back(self, kind: str, amount: int) -> Move:
        platform, merchant = self.accounts
        return Move(kind, merchant, platform, amount)

    @property
    def accounts(self) -> tuple[Account, Account]:
        return Account("platform", self.currency), Account("merchant", self.currency)


@dataclass(slots=True)
class BooksModel:
    """All that one tenant has."""

    payments: dict[str, PaymentModel] = field(default_factory=dict)
    booked: list[Booked] = field(default_factory=list)
    no_overdraft: dict[Account, bool] = field(default_factory=dict)
    """Every account there is, and whether it has the rule."""

    def book(self, moves: Iterable[Move], at: datetime) -> None:
        """Book moves at an instant; accounts open by themselves."""
        for move in moves:
            self.booked.append(Booked(move, at))
            for account, _ in move.sides:
                self.no_overdraft.setdefault(account, False)

    def transfer(self, debit: Account, credit: Account, amount: int) -> Move | Refusal:
        """What a transfer comes to."""
        if debit == credit or debit.currency != credit.currency:
            return Refusal(422, "validation_failed")
        for account, side in ((debit, "debit"), (credit, "credit")):
            if not self.no_overdraft[account] or GROWS_BY[account.kind] == side:
                continue
            available = self.balance(account)["available"]
            if amount > available:
                return Refusal(409, "insufficient_funds", {"available": available})
        return Move("transfer", debit, credit, amount)

    def balance(self, account: Account, at: datetime | None = None) -> dict[str, int]:
        """What an account held at an instant, or holds now."""
        held = {"posted": 0, "pending": 0}
        for move in self._moves(at):
            for side in move.sides:
                if side[0] == account:
                    grows = side[1] == GROWS_BY[account.kind]
                    held[move.layer] += move.amount if grows else -move.amount
        return held | {"available": held["posted"] + min(0, held["pending"])}

    def trial_balance(self, at: datetime | None = None) -> dict[str, dict[str, int]]:
        """What was moved in each currency; each move is a debit and a credit."""
        moved: dict[str, dict[str, int]] = {}
        for move in self._moves(at):
            line = moved.setdefault(move.debit.currency, {"posted": 0, "pending": 0})
            line[move.layer] += move.amount
        return moved

    def entries(self, account: Account) -> list[tuple[datetime, str, str, int]]:
        """The instant, kind, direction and amount of all that was booked on an account."""
        return sorted(
            (one.at, one.move.kind, direction, one.move.amount)
            for one in self.booked
            for side, direction in one.move.sides
            if side == account
        )

    def instants(self) -> list[datetime]:
        """Each instant at which anything was booked."""
        return sorted({one.at for one in self.booked})

    def _moves(self, at: datetime | None) -> Iterator[Move]:
        return (one.move for one in self.booked if at is None or one.at <= at)
