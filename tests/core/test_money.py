"""Laws of Money: what is not money is refused, and what is money is written exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from fluxpay.core.money import AMOUNT_MINOR_MAX, EXPONENTS, Money

# Codes for bonds, indices and next-day dollars: ISO lists them, and nobody pays a coffee in them.
FUNDS_CODES = frozenset({"BOV", "CLF", "COU", "MXV", "CHE", "CHW", "USN", "UYI"})

amounts = st.integers(min_value=1, max_value=AMOUNT_MINOR_MAX)
currencies = st.sampled_from(sorted(EXPONENTS))


def test_the_exponents_are_those_of_iso_4217() -> None:
    listed = {
        currency.code: currency.exponent
        for currency in Currency
        if currency.exponent is not None and currency.code not in FUNDS_CODES
    }
    assert listed == dict(EXPONENTS)


@given(amount_minor=st.integers(max_value=0) | st.integers(min_value=AMOUNT_MINOR_MAX + 1))
def test_an_amount_out_of_range_is_not_money(amount_minor: int) -> None:
    with pytest.raises(ValueError, match="minor units"):
        Money(amount_minor, "EUR")


@given(currency=st.text(max_size=4).filter(lambda text: text not in EXPONENTS))
def test_an_unknown_currency_is_not_money(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(1, currency)


@pytest.mark.parametrize("currency", sorted(FUNDS_CODES | {"XAU", "XXX", "XTS", "eur", "EUR "}))
def test_a_code_that_nobody_can_pay_in_is_not_money(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        Money(1, currency)


@pytest.mark.parametrize(
    ("money", "text"),
    [
        (Money(1250, "EUR"), "12.50 EUR"),
        (Money(5, "EUR"), "0.05 EUR"),
        (Money(1250, "JPY"), "1250 JPY"),
        (Money(1250, "KWD"), "1.250 KWD"),
        (Money(1250, "UYW"), "0.1250 UYW"),
        (Money(AMOUNT_MINOR_MAX, "EUR"), "90071992547409.91 EUR"),
    ],
)
def test_money_is_written_with_the_digits_of_its_currency(money: Money, text: str) -> None:
    assert text == str(money)


@given(amount_minor=amounts, currency=currencies)
def test_what_is_written_reads_back_exactly(amount_minor: int, currency: str) -> None:
    number, code = str(Money(amount_minor, currency)).split(" ")
    exponent = EXPONENTS[currency]
    assert (amount_minor, currency) == (int(Decimal(number).scaleb(exponent)), code)
    _, _, fraction = number.partition(".")
    assert exponent == len(fraction)
