"""The page about the life of a payment shows the table that the service decides by."""

import re
from dataclasses import replace

import pytest

from fluxpay.core.effects import PostPayment
from fluxpay.core.money import Money
from fluxpay.core.payment_changes import status_of
from fluxpay.core.payment_creation import create_payment
from fluxpay.core.payments import AUTHORIZATION_DAYS, CaptureMode, Payment, PaymentRequest
from tests.core.examples import NOW, UUID, claim, tenant
from tests.docs.lifecycle_diagram import BEGINNINGS, diagram
from tests.docs.pages import code, fences, read, table

PAGE = read("docs/explanation/lifecycle.md")
AMOUNT_MINOR = 9000
AMOUNTS = table(PAGE, "Amounts and status")


def made(mode: CaptureMode) -> Payment:
    """A payment as it is when it was just made."""
    request = PaymentRequest(Money(AMOUNT_MINOR, "EUR"), capture=mode)
    asked = next(create_payment(request, tenant=tenant(), claim=claim(), uuid=UUID, now=NOW))
    assert isinstance(asked, PostPayment)
    return asked.posting.payment


def test_the_page_shows_what_the_table_of_transitions_draws() -> None:
    shown = [fence.text for fence in fences(PAGE) if fence.info == "mermaid"]
    assert [diagram()] == shown, "run: python -m tests.docs.lifecycle_diagram"


@pytest.mark.parametrize("mode", CaptureMode)
def test_new_payments_begin_where_the_diagram_begins(mode: CaptureMode) -> None:
    assert made(mode).status == BEGINNINGS[mode]


@pytest.mark.parametrize("row", AMOUNTS, ids=" ".join)
def test_the_shown_amounts_have_the_shown_status(row: list[str]) -> None:
    captured, refunded, authorization, status = row
    authorized = made(CaptureMode.MANUAL)
    payment = replace(
        authorized,
        amount_captured_minor=int(captured),
        amount_refunded_minor=int(refunded),
        expires_at={"open": authorized.expires_at, "closed": None}[authorization],
    )
    assert status_of(payment) == code(status)


@pytest.mark.parametrize("page", ["docs/explanation/lifecycle.md", "docs/reference/http.md"])
def test_the_pages_tell_how_long_an_authorization_stays_open(page: str) -> None:
    told = re.findall(r"(\d+) days", read(page))
    assert {str(AUTHORIZATION_DAYS)} == set(told)
