"""Reading statements page by page, and what must hold of the books whatever is under way."""

from dataclasses import dataclass, field
from datetime import datetime

import pytest

from fluxpay.core import books as core
from fluxpay.core.books import Place, StatementLine, StatementPage, Totals, TrialLine
from fluxpay.core.effects import ReadStatement, ReadTotals, ReadTrialBalance
from fluxpay.core.ledger import Direction, Layer
from fluxpay.stores.books import Books
from tests.stores.ledger_sessions import Ledger


async def statement_page(
    books: Books, ledger: Ledger, account_id: str, *, after: Place, limit: int
) -> StatementPage:
    step = core.read_statement(ledger.tenant_id, account_id, after=after, limit=limit)
    effect = next(step)
    assert isinstance(effect, ReadStatement)
    answer = await books.statement(effect)
    with pytest.raises(StopIteration) as ended:
        step.send(answer)
    page = ended.value.value
    assert isinstance(page, StatementPage)
    return page


async def walk(
    books: Books, ledger: Ledger, account_id: str, *, after: Place, limit: int
) -> tuple[list[StatementLine], Place]:
    """All entries from a place on, and where to resume."""
    lines: list[StatementLine] = []
    place: Place | None = after
    while place is not None:
        page = await statement_page(books, ledger, account_id, after=place, limit=limit)
        assert len(page.statement.lines) <= limit
        lines += page.statement.lines
        place, after = page.following, page.resume
    return lines, after


async def totals(books: Books, ledger: Ledger, at: datetime | None) -> dict[str, Totals]:
    """The totals of every account."""
    found = await books.totals(ReadTotals(ledger.tenant_id, ledger.account_ids, at))
    return {one_id: found.get(one_id, Totals()) for one_id in ledger.account_ids}


def added(line: StatementLine, before: Totals) -> Totals:
    """The totals after an entry, by hand."""
    amounts = {
        (Layer.POSTED, Direction.DEBIT): before.posted_debit_minor,
        (Layer.POSTED, Direction.CREDIT): before.posted_credit_minor,
        (Layer.PENDING, Direction.DEBIT): before.pending_debit_minor,
        (Layer.PENDING, Direction.CREDIT): before.pending_credit_minor,
    }
    amounts[line.entry.layer, line.entry.direction] += line.entry.money.amount_minor
    return Totals(*amounts.values())


@dataclass(slots=True)
class Follower:
    """A client that reads an account's statement on and on, from where it may resume."""

    account_id: str
    place: Place = field(default_factory=Place)
    seen: set[str] = field(default_factory=set)
    final: dict[int, StatementLine] = field(default_factory=dict)

    async def read_on(self, books: Books, ledger: Ledger) -> None:
        lines, self.place = await walk(books, ledger, self.account_id, after=self.place, limit=2)
        self.seen |= {line.transfer_id for line in lines}
        final = {line.seq: line for line in lines if line.seq is not None}
        assert set() == set(final) & set(self.final)
        self.final |= final


async def check_statement(books: Books, ledger: Ledger, account_id: str) -> None:
    """A statement holds every entry once, the final ones first, and its totals add up."""
    lines, _ = await walk(books, ledger, account_id, after=Place(), limit=3)
    assert sorted(ledger.committed(account_id)) == sorted(line.transfer_id for line in lines)
    numbers = [line.seq for line in lines if line.seq is not None]
    assert list(range(1, len(numbers) + 1)) == numbers
    assert all(line.seq is None for line in lines[len(numbers) :])
    tail = [(line.entry.created_at, line.transfer_id) for line in lines[len(numbers) :]]
    assert sorted(tail) == tail
    running = Totals()
    for line in lines:
        running = added(line, running)
        assert running == line.totals


async def check_books(books: Books, ledger: Ledger, *instants: datetime | None) -> None:
    """Every balance at these instants (None is now) is what plain sums say."""
    for at in instants:
        expected = {one_id: ledger.summed(one_id, at) for one_id in ledger.account_ids}
        assert expected == await totals(books, ledger, at), at
        columns = zip(*map(_amounts, expected.values()), strict=True)
        summed = Totals(*(sum(column) for column in columns))
        lines = await books.trial_balance(ReadTrialBalance(ledger.tenant_id, at))
        assert (() if summed == Totals() else (TrialLine("EUR", summed),)) == lines


def _amounts(one: Totals) -> tuple[int, int, int, int]:
    return (
        one.posted_debit_minor,
        one.posted_credit_minor,
        one.pending_debit_minor,
        one.pending_credit_minor,
    )
