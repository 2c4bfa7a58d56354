"""Money: an integer of minor units and its ISO 4217 currency. No floats, ever.

Knows the currencies in which money is paid, and how many digits follow their point. Funds codes
(CLF, USN, ...) and codes without a minor unit (XAU, XXX, ...) are no money a client can pay with,
so they are not here. Source: ISO 4217 list one, published 2026-01-01.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

AMOUNT_MINOR_MAX: Final = 2**53 - 1
"""The largest amount that every JSON reader, JavaScript's included, reads back exactly."""

_CODES_BY_EXPONENT: Final = {
    0: """
        BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF
    """,
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD
        CDF CHF CNY COP CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD
        GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL
        MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN
        PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP
        SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW
        ZWG
    """,
    3: """
        BHD IQD JOD KWD LYD OMR TND
    """,
    4: """
        UYW
    """,
}

EXPONENTS: Final[Mapping[str, int]] = MappingProxyType(
    {code: exponent for exponent, codes in _CODES_BY_EXPONENT.items() for code in codes.split()}
)
"""Digits after the decimal point, by currency code."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount of one currency, in its minor unit (cents for EUR, yen for JPY).

    Raises:
        ValueError: The currency is not one that can be paid in, or the amount is out of range.
    """

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        """Refuse what is not money."""
        if self.currency not in EXPONENTS:
            message = f"{self.currency!r} is not a currency of ISO 4217 that can be paid in"
            raise ValueError(message)
        if not 1 <= self.amount_minor <= AMOUNT_MINOR_MAX:
            message = f"an amount lies between 1 and {AMOUNT_MINOR_MAX} minor units"
            raise ValueError(message)

    def __str__(self) -> str:
        """Write the amount for a person: 1250 minor units of EUR are `12.50 EUR`."""
        exponent = EXPONENTS[self.currency]
        if exponent == 0:
            return f"{self.amount_minor} {self.currency}"
        # Rounds nothing: divmod splits the integer at the point.
        whole, fraction = divmod(self.amount_minor, 10**exponent)
        return f"{whole}.{fraction:0{exponent}d} {self.currency}"
