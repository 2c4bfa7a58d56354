"""What clients send and get about transfers, and about opening accounts for them.

Must not know HTTP, nor how an answer is put together.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from fluxpay.core.ledger import AccountKind, Layer, TransferKind
from fluxpay.web.bodies import AmountMinor, CurrencyCode, InstantUtc

_ID_CHARS_MAX: Final = 100  # More than any id has: longer ones are refused without a look-up.

AccountId = Annotated[
    str,
    Meta(
        max_length=_ID_CHARS_MAX,
        description="A TypeID.",
        examples=["acc_01h455vb4pex5vsknk084sn02q"],
    ),
]
NoOverdraft = Annotated[
    bool,
    Meta(
        description=(
            "Whether transfers may take out of the account no more than is available in it. "
            "Payments and refunds are never held up by it."
        )
    ),
]


class TransferBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Money to be moved between two accounts of the tenant."""

    debit_account_id: AccountId
    credit_account_id: AccountId
    amount: AmountMinor
    currency: CurrencyCode
    description: (
        Annotated[
            str,
            Meta(max_length=1000, description="For people to read.", examples=["Week 9"]),
        ]
        | None
    ) = None


class TransferAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A transfer: one debit and one credit of the same amount."""

    id: Annotated[str, Meta(description="A TypeID.", examples=["trf_01h455vb4pex5vsknk084sn02q"])]
    object: Literal["transfer"]
    kind: Annotated[
        TransferKind,
        Meta(description="`transfer` for one made by a client, else what a payment made it for."),
    ]
    debit_account_id: AccountId
    credit_account_id: AccountId
    amount: AmountMinor
    currency: CurrencyCode
    description: str | None
    payment_id: Annotated[str | None, Meta(description="The payment it belongs to, if to one.")]
    layer: Annotated[Layer, Meta(description="Whether money moved, or was only set aside.")]
    reverses: Annotated[
        str | None, Meta(description="The transfer that it takes back, wholly or in part.")
    ]
    created_at: InstantUtc


class AccountBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An account to be opened; a tenant has one of each kind and currency."""

    kind: Annotated[
        Literal["reserve", "payout"],
        Meta(description="The accounts `merchant` and `platform` open by themselves."),
    ]
    currency: CurrencyCode
    no_overdraft: NoOverdraft | None = None


class AccountRuleBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The rule of an account."""

    no_overdraft: NoOverdraft


class AccountAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An account in the tenant's books."""

    id: AccountId
    object: Literal["account"]
    kind: AccountKind
    currency: CurrencyCode
    normal_side: Annotated[
        Literal["debit", "credit"], Meta(description="The side that adds to its balance.")
    ]
    no_overdraft: NoOverdraft
    created_at: InstantUtc
