"""What clients of the payment API send and get, as types that validate and document at once.

What is sent refuses members it does not know; what is answered may gain members, and clients
must let them pass. Each constraint stands here once: the validator and the OpenAPI document both
read it. Must not know HTTP, nor how an answer is put together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fluxpay.core.ledger import Direction, Layer
from fluxpay.core.money import AMOUNT_MINOR_MAX, EXPONENTS
from fluxpay.core.payments import AUTHORIZATION_DAYS, CaptureMode, Status
from fluxpay.core.problems import Code

_CURSOR_CHARS_MAX: Final = 100  # More than any cursor needs: longer ones are refused unread.
_YEAR_MIN: Final = 1970
_YEAR_MAX: Final = 9998


class Currency(StrEnum):
    """The currencies of ISO 4217 that can be paid in."""

    _ignore_ = "codes code"
    codes = vars()
    for code in sorted(EXPONENTS):
        codes[code] = code


def representable(instant: str) -> str | None:
    """A rule for instants: every zone can show them, and so can the database."""
    # A year of room at both ends keeps any zone's reading inside what a datetime can hold.
    moment = msgspec.convert(instant, datetime)
    if not _YEAR_MIN <= moment.year <= _YEAR_MAX:
        return f"Must lie in the years {_YEAR_MIN} to {_YEAR_MAX}."
    return None


def in_utc(moment: datetime | None) -> datetime | None:
    """Give an instant as a clock in UTC shows it: Postgres reads no zone 16 hours away or more."""
    return None if moment is None else moment.astimezone(UTC)


def printable(text: str) -> str | None:
    """A rule for parameters that are compared as text: no U+0000, which no text column holds."""
    return "Must not hold U+0000." if "\x00" in text else None


CurrencyCode = Annotated[
    Currency,
    Meta(
        description="A currency of ISO 4217, in capitals.",
        examples=["EUR"],
        extra={"expects": "the code of a currency (ISO 4217, three capitals), such as EUR"},
    ),
]
AmountMinor = Annotated[
    int,
    Meta(
        ge=1,
        le=AMOUNT_MINOR_MAX,
        description="In minor units of the currency: 1250 is 12.50 EUR, or 1250 JPY.",
        examples=[1250],
    ),
]
Instant = Annotated[
    datetime,
    Meta(
        tz=True,
        description="RFC 3339, with its zone.",
        examples=["2026-01-31T12:00:00Z"],
        extra={"rule": representable},
    ),
]
InstantUtc = Annotated[
    datetime,
    Meta(tz=True, description="RFC 3339 in UTC, with `Z`.", examples=["2026-01-31T12:00:00.000Z"]),
]
Reference = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        description="Your own name for the payment, such as an order number; need not be unique.",
        examples=["order-1042"],
    ),
]
Metadata = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=40)], Annotated[str, Meta(max_length=500)]],
    Meta(
        max_length=50,
        description="Your own notes; kept and shown, never looked into.",
        examples=[{"cart": "c-77"}],
    ),
]
PageLimit = Annotated[int, Meta(ge=1, le=100, description="How many a page holds.")]
PageCursor = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=_CURSOR_CHARS_MAX,
        description="From `next_cursor` of the page before.",
    ),
]
NextCursor = Annotated[
    str | None, Meta(description="Pass it as `cursor` for the next page; null on the last one.")
]


class PaymentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A payment to be made."""

    amount: AmountMinor
    currency: CurrencyCode
    capture: (
        Annotated[
            CaptureMode,
            Meta(
                description="When the money is taken: at once, or by captures within "
                f"{AUTHORIZATION_DAYS} days."
            ),
        ]
        | None
    ) = CaptureMode.AUTOMATIC
    description: (
        Annotated[
            str,
            Meta(max_length=1000, description="For people to read.", examples=["Two tickets"]),
        ]
        | None
    ) = None
    reference: Reference | None = None
    metadata: Metadata | None = None


class CaptureBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of an authorized payment is taken; without an amount, all that is left."""

    amount: AmountMinor | None = None


class VoidBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing: a void releases all that is left of an authorization."""


class RefundBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How much of a payment is given back; without an amount, all that is left."""

    amount: AmountMinor | None = None
    reason: (
        Annotated[
            str,
            Meta(max_length=1000, description="For people to read.", examples=["One was torn"]),
        ]
        | None
    ) = None


class PaymentQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which payments a list shows, and how many."""

    status: Annotated[Status, Meta(description="Only payments in this status.")] | None = None
    currency: CurrencyCode | None = None
    reference: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=255,
                description="Only payments with exactly this reference.",
                extra={"rule": printable},
            ),
        ]
        | None
    ) = None
    created_gte: Instant | None = None
    created_lt: Instant | None = None
    limit: PageLimit = 20
    cursor: PageCursor | None = None


class PaymentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A payment."""

    id: Annotated[str, Meta(description="A TypeID.", examples=["pay_01h455vb4pex5vsknk084sn02q"])]
    object: Literal["payment"]
    amount: AmountMinor
    currency: CurrencyCode
    status: Status
    amount_captured: Annotated[int, Meta(ge=0, description="Minor units taken so far.")]
    amount_refunded: Annotated[int, Meta(ge=0, description="Minor units given back so far.")]
    capture: CaptureMode
    description: str | None
    reference: str | None
    metadata: dict[str, str]
    created_at: InstantUtc
    expires_at: Annotated[
        datetime | None,
        Meta(description="When what is left of an authorization ends; null when nothing is left."),
    ]


class PaymentList(msgspec.Struct, frozen=True, kw_only=True):
    """A page of payments, newest first."""

    data: tuple[PaymentAnswer, ...]
    next_cursor: NextCursor


class RefundAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a payment that was given back."""

    id: Annotated[str, Meta(description="A TypeID.", examples=["re_01h455vb4pex5vsknk084sn02q"])]
    object: Literal["refund"]
    payment_id: Annotated[str, Meta(examples=["pay_01h455vb4pex5vsknk084sn02q"])]
    amount: AmountMinor
    currency: CurrencyCode
    reason: str | None
    created_at: InstantUtc


class RefundList(msgspec.Struct, frozen=True, kw_only=True):
    """The refunds of one payment, oldest first."""

    data: tuple[RefundAnswer, ...]
    next_cursor: NextCursor


class EntryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a transfer in the double-entry ledger."""

    id: str
    account_id: Annotated[str, Meta(examples=["acc_01h455vb4pex5vsknk084sn02q"])]
    direction: Direction
    amount: AmountMinor
    currency: CurrencyCode
    created_at: InstantUtc
    layer: Annotated[Layer, Meta(description="Whether the money has moved, or is only set aside.")]


class EntryList(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger entries of one payment: debits and credits come to the same."""

    data: tuple[EntryAnswer, ...]
    next_cursor: NextCursor


class FaultAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One field or parameter that is wrong."""

    pointer: Annotated[
        str, Meta(description="A JSON pointer as a URI fragment.", examples=["#/amount"])
    ]
    detail: Annotated[str, Meta(description="What is wrong with it, for a person.")]


class ProblemAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong (RFC 9457); branch on `code`. Some problems have further members."""

    type: Annotated[
        str, Meta(description="Where this is explained.", examples=["/problems/not_found"])
    ]
    title: Annotated[str, Meta(description="The same for every occurrence.")]
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: Annotated[str, Meta(description="This occurrence, for a person.")]
    instance: Annotated[str, Meta(description="The path of the request.")]
    code: Code
    trace_id: Annotated[str, Meta(description="Name it when you ask for help.")]
    errors: tuple[FaultAnswer, ...] = ()
