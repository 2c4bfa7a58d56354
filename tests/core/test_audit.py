"""The rules of the audit: what each says of rows that agree, and of every way not to."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.audit import (
    AccountTotals,
    EntryRow,
    Finding,
    Head,
    LinkRow,
    TransferRow,
    check_accounts,
    check_balances,
    check_chain,
    check_head,
    check_statements,
    transfer_digest,
)
from fluxpay.core.books import Totals
from fluxpay.core.ledger import AccountKind, account
from tests.core.examples import TENANT_ID

PLATFORM, MERCHANT = "acc_platform", "acc_merchant"


def transfer(number: int, amount_minor: int = 100) -> TransferRow:
    return TransferRow(
        tenant_id=TENANT_ID,
        id=f"trf_{number}",
        kind="capture",
        layer="posted",
        payment_id=f"pay_{number}",
        debit_account_id=PLATFORM,
        credit_account_id=MERCHANT,
        amount_minor=amount_minor,
        currency="EUR",
        created_at_s=Decimal(f"{1_772_368_215 + number}.123000"),
        reverses=None,
        description=None,
    )


def chain_of(*links: Iterable[TransferRow]) -> list[LinkRow]:
    """The chain that the worker would have made of these."""
    rows, previous = list[LinkRow](), b""
    for seq, link in enumerate(links, start=1):
        covered = list(link)
        digests = [transfer_digest(one) for one in covered]
        previous = hashlib.sha256(previous + b"".join(digests)).digest()
        rows += [
            LinkRow(seq, len(covered), previous, position, one.id, digest, one)
            for position, (one, digest) in enumerate(zip(covered, digests, strict=True), start=1)
        ]
    return rows


CHAIN = chain_of([transfer(1), transfer(2)], [transfer(3)], [transfer(4), transfer(5)])


def statement(*transfers: TransferRow) -> list[EntryRow]:
    """The platform's statement of transfers that debit it, sealed in this order."""
    lines, debit_minor, latest = list[EntryRow](), 0, Decimal(0)
    for seq, one in enumerate(transfers, start=1):
        debit_minor, latest = debit_minor + one.amount_minor, max(latest, one.created_at_s)
        lines.append(
            EntryRow(
                account_id=PLATFORM,
                seq=seq,
                transfer_id=one.id,
                direction="debit",
                layer=one.layer,
                kind=one.kind,
                payment_id=one.payment_id,
                amount_minor=one.amount_minor,
                currency=one.currency,
                created_at_s=one.created_at_s,
                totals=Totals(posted_debit_minor=debit_minor),
                latest_at_s=latest,
                sealed_as=(seq, 1),
                transfer=one,
            )
        )
    return lines


STATEMENT = statement(transfer(1), transfer(3, 250), transfer(2, 5))


def changed(rows: list[Any], index: int, **columns: object) -> list[Any]:
    """These rows, with one of them changed."""
    return [*rows[:index], replace(rows[index], **columns), *rows[index + 1 :]]


def named(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(finding.table, finding.row_id) for finding in findings]


def test_a_digest_is_made_over_the_text_that_postgres_makes_of_a_transfer() -> None:
    text = (
        f'["{TENANT_ID}", "trf_1", "capture", "pay_1", "acc_platform", "acc_merchant", 100, "EUR", '
        '"1772368216.123000", null, "Zw\\"ölf\\n"]'
    )
    digest = transfer_digest(replace(transfer(1), description='Zw"ölf\n'))
    assert hashlib.sha256(text.encode()).digest() == digest


def test_a_chain_that_holds_has_no_findings() -> None:
    assert [] == list(check_chain(CHAIN))
    assert [] == list(check_chain([]))


@given(st.integers(0, len(CHAIN) - 1), st.sampled_from(["amount_minor", "currency", "description"]))
def test_a_transfer_that_was_changed_is_named_and_no_seal(index: int, column: str) -> None:
    row = CHAIN[index].transfer
    assert row is not None
    forged = replace(row, **{column: 999 if column == "amount_minor" else "forged"})  # type: ignore[arg-type]
    found = named(check_chain(changed(CHAIN, index, transfer=forged)))
    assert [("ledger_transfers", row.id)] == found


@given(st.integers(0, len(CHAIN) - 1))
def test_a_digest_that_was_rewritten_with_its_transfer_breaks_its_seal(index: int) -> None:
    row = CHAIN[index].transfer
    assert row is not None
    forged = replace(row, amount_minor=999)
    digest = transfer_digest(forged)
    found = named(check_chain(changed(CHAIN, index, transfer=forged, digest=digest)))
    assert [("ledger_seals", str(CHAIN[index].seq))] == found


def test_a_link_that_was_rewritten_in_full_breaks_the_next_one_alone() -> None:
    rewritten = chain_of([transfer(1, 999), transfer(2)])
    assert [("ledger_seals", "2")] == named(check_chain([*rewritten, *CHAIN[2:]]))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (changed(CHAIN, 2, transfer=None), [("ledger_transfers", "trf_3")]),
        (changed(CHAIN, 2, link_digest=None, link_transfers=None), [("ledger_seals", "2")]),
        (changed(CHAIN, 2, link_transfers=2), [("ledger_seals", "2")]),
        (changed(CHAIN, 2, position=7), [("sealed_transfers", "trf_3")]),
        ([*CHAIN[:2], *CHAIN[3:]], [("ledger_seals", "2")]),
        (CHAIN[3:], [("ledger_seals", "1…")]),
        (
            changed(CHAIN, 2, position=None, transfer_id=None, digest=None, transfer=None),
            [("ledger_seals", "2")],
        ),
    ],
    ids=["no transfer", "no seal", "count", "position", "gap", "wide gap", "empty seal"],
)
def test_a_chain_that_does_not_hold_is_located(
    rows: list[LinkRow], expected: list[tuple[str, str]]
) -> None:
    assert expected == named(check_chain(rows))


def test_transfers_that_change_places_break_their_seal() -> None:
    first, second = CHAIN[0], CHAIN[1]
    rows = [replace(second, position=1), replace(first, position=2), *CHAIN[2:]]
    assert [("ledger_seals", "1")] == named(check_chain(rows))


def test_a_statement_that_runs_on_has_no_findings_even_where_one_came_late() -> None:
    assert [] == list(check_statements(STATEMENT))


@pytest.mark.parametrize(
    "columns",
    [
        {"seq": 5},
        {"totals": Totals(posted_debit_minor=356)},
        {"totals": Totals(posted_debit_minor=355, pending_credit_minor=1)},
        {"latest_at_s": Decimal(0)},
        {"sealed_as": None},
        {"sealed_as": (1, 1)},
        {"transfer": None},
        {"transfer": transfer(2, 6)},
        {"transfer": replace(transfer(2, 5), debit_account_id="acc_other")},
        {"kind": "refund"},
        {"payment_id": "pay_other"},
        {"currency": "JPY"},
    ],
    ids=str,
)
def test_a_line_that_does_not_run_on_or_show_its_transfer_is_named(
    columns: dict[str, object],
) -> None:
    rows = changed(STATEMENT, 2, **columns)
    found = list(check_statements(rows))
    assert [("account_entries", f"{PLATFORM}#{rows[2].seq}")] == named(iter(found))


def test_each_account_has_totals_of_its_own() -> None:
    other = [
        replace(
            line,
            account_id="acc_other",
            transfer=replace(line.transfer, debit_account_id="acc_other"),
        )
        for line in STATEMENT
        if line.transfer is not None
    ]
    assert [] == list(check_statements([*STATEMENT, *other]))


DEBITED = Totals(posted_debit_minor=100, pending_credit_minor=7)
CREDITED = Totals(posted_credit_minor=100, pending_debit_minor=7)


def test_balances_that_are_the_sums_of_their_transfers_have_no_findings() -> None:
    rows = [
        AccountTotals("acc_1", "EUR", DEBITED, DEBITED),
        AccountTotals("acc_2", "EUR", CREDITED, CREDITED),
    ]
    assert [] == list(check_balances(rows))


def test_an_account_that_is_told_otherwise_than_its_transfers_make_it_is_named() -> None:
    rows = [
        AccountTotals("acc_1", "EUR", DEBITED, DEBITED),
        AccountTotals("acc_2", "EUR", CREDITED, replace(CREDITED, posted_credit_minor=99)),
    ]
    assert [("accounts", "acc_2")] == named(check_balances(rows))


@pytest.mark.parametrize("column", ["posted_credit_minor", "pending_debit_minor"])
def test_a_trial_balance_that_is_not_level_names_its_currency(column: str) -> None:
    uneven = replace(CREDITED, **{column: 1})
    rows = [
        AccountTotals("acc_1", "EUR", DEBITED, DEBITED),
        AccountTotals("acc_2", "EUR", uneven, uneven),
    ]
    assert [("account_entries", "EUR")] == named(check_balances(rows))


def test_two_currencies_do_not_make_up_for_one_another() -> None:
    rows = [
        AccountTotals("acc_1", "EUR", DEBITED, DEBITED),
        AccountTotals("acc_2", "JPY", CREDITED, CREDITED),
    ]
    assert [("account_entries", "EUR"), ("account_entries", "JPY")] == named(check_balances(rows))


def test_an_account_that_is_what_its_id_was_made_of_has_no_findings() -> None:
    assert [] == list(check_accounts(account(TENANT_ID, kind, "EUR") for kind in AccountKind))


@pytest.mark.parametrize(
    "columns", [{"kind": AccountKind.PLATFORM}, {"currency": "JPY"}, {"id": MERCHANT}], ids=str
)
def test_an_account_of_another_kind_or_currency_than_its_id_is_named(
    columns: dict[str, Any],
) -> None:
    changed_ = replace(account(TENANT_ID, AccountKind.MERCHANT, "EUR"), **columns)
    assert [("accounts", changed_.id)] == named(check_accounts([changed_]))


def test_a_seal_that_was_noted_outside_still_stands_or_is_named() -> None:
    noted = Head(3, bytes(32))
    assert [] == list(check_head(noted, bytes(32)))
    assert [("ledger_seals", "3")] == named(check_head(noted, b"1" * 32))
    assert [("ledger_seals", "3")] == named(check_head(noted, None))


def test_a_seal_that_is_gone_is_told_from_one_that_is_wrong() -> None:
    gone = changed(CHAIN, 2, link_digest=None, link_transfers=None)
    missing = Finding("ledger_seals", "2", "is missing, though it covers 1")
    assert [missing] == list(check_chain(gone))
