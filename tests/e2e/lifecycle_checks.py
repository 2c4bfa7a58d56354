"""Whether a tenant's payments and books, as the service tells them, are those of the model.

Every check reads over HTTP, as any client may; `verify` alone reads the database. Must not know
what was done to get there.
"""

import io
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from fluxpay.verify import Progress, report, verify
from tests.e2e.lifecycle_model import GROWS_BY, Account, BooksModel, Move
from tests.e2e.tills import Till

A_MILLISECOND: Final = timedelta(milliseconds=1)


@dataclass(slots=True)
class Comparison:
    """One tenant, in the service and in the model."""

    till: Till
    model: BooksModel
    account_ids: dict[Account, str] = field(default_factory=dict)
    entries_seen: set[str] = field(default_factory=set)

    def book(self, payment_id: str, expected: list[Move]) -> datetime:
        """Book what the model expects, at the instant at which the service has booked the same."""
        entries = self.till.get(f"/v1/payments/{payment_id}/entries")["data"]
        fresh = [one for one in entries if one["id"] not in self.entries_seen]
        self.entries_seen |= {one["id"] for one in fresh}
        (booked_at,) = {instant(one["created_at"]) for one in fresh}
        self.model.book(expected, booked_at)
        self._learn_accounts()
        wanted = Counter(
            (self.account_ids[account], direction, move.layer, move.amount)
            for move in expected
            for account, direction in move.sides
        )
        told = Counter(
            (one["account_id"], one["direction"], one["layer"], one["amount"]) for one in fresh
        )
        assert wanted == told, (wanted, told)
        return booked_at

    def check_now(self) -> None:
        """All payments, all accounts and their balances."""
        self.check_accounts()
        self._check_payments()
        self._check_balances(None)

    def check_a_part_of_the_past(self, number: int) -> None:
        """One instant, and one account at it."""
        instants, accounts = self.model.instants(), sorted(self.account_ids)
        at = instants[number % len(instants)]
        self._check_balance(accounts[number % len(accounts)], at)
        self._check_trial_balance(at)

    def check_all_of_the_past(self) -> None:
        """Every balance at every instant and just before it, and every statement."""
        for at in self.model.instants():
            self._check_balances(at)
            self._check_balances(at - A_MILLISECOND)
        for account in self.model.no_overdraft:
            self._check_statement(account)

    def check_accounts(self) -> None:
        """Which accounts there are, and which have the rule."""
        listed = self._learn_accounts()
        told = {Account(one["kind"], one["currency"]): one["no_overdraft"] for one in listed}
        assert self.model.no_overdraft == told, (self.model.no_overdraft, told)

    def prove(self, database_url: str) -> None:
        """`fluxpay verify` finds nothing."""
        told, tenant_id = io.StringIO(), self.till.tenant_id
        progress = Progress(io.StringIO())
        verified = verify(database_url, tenant_id=tenant_id, expected={}, progress=progress)
        assert report(verified, told, as_json=False), told.getvalue()

    def _learn_accounts(self) -> list[Any]:
        listed = self.till.pages("/v1/accounts?limit=100")
        self.account_ids = {Account(one["kind"], one["currency"]): one["id"] for one in listed}
        return listed

    def _check_payments(self) -> None:
        listed = self.till.pages("/v1/payments?limit=100")
        assert {one["id"] for one in listed} == self.model.payments.keys()
        for one in listed:
            payment = self.model.payments[one["id"]]
            told = {name: one[name] for name in payment.shown}
            assert payment.shown == told, (payment.shown, told)
            assert payment.is_open == (one["expires_at"] is not None), one
            if payment.is_open and not payment.is_due:
                stands = instant(one["expires_at"]) - instant(one["created_at"])
                assert timedelta(days=7) == stands, one

    def _check_balances(self, at: datetime | None) -> None:
        for account in self.account_ids:
            self._check_balance(account, at)
        self._check_trial_balance(at)

    def _check_balance(self, account: Account, at: datetime | None) -> None:
        told = self.till.get(f"/v1/accounts/{self.account_ids[account]}/balance{_query(at)}")
        expected = self.model.balance(account, at)
        assert account.currency == told["currency"], told
        assert expected == {name: told[name] for name in expected}, (account, at, expected, told)

    def _check_trial_balance(self, at: datetime | None) -> None:
        told = self.till.get(f"/v1/trial-balance{_query(at)}")
        expected = self.model.trial_balance(at)
        for side in ("debits", "credits"):
            lines = {
                line["currency"]: {"posted": line[side], "pending": line[f"pending_{side}"]}
                for line in told["currencies"]
            }
            assert expected == lines, (side, at, expected, lines)

    def _check_statement(self, account: Account) -> None:
        lines = self.till.pages(f"/v1/accounts/{self.account_ids[account]}/entries?limit=7")
        told = [
            (instant(one["created_at"]), one["kind"], one["direction"], one["amount"])
            for one in lines
        ]
        expected = self.model.entries(account)
        assert expected == sorted(told), (account, expected, told)
        # One client, who waits for each answer: the statement is in the order of time.
        assert sorted(one[0] for one in told) == [one[0] for one in told], (account, told)
        running = {"posted": 0, "pending": 0}
        for line in lines:
            grows = line["direction"] == GROWS_BY[account.kind]
            running[line["layer"]] += line["amount"] if grows else -line["amount"]
            assert running == line["balance"], (account, running, line)


def instant(text: str) -> datetime:
    """Read an instant, which is always told in UTC."""
    assert text.endswith("Z"), text
    return datetime.fromisoformat(text).astimezone(UTC)


def _query(at: datetime | None) -> str:
    return "" if at is None else f"?at={quote(at.isoformat())}"
