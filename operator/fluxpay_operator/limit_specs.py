"""What a tenant may do and how often: the limits in the spec of a `Tenant`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from fluxpay.core.money import AMOUNT_MINOR_MAX
from fluxpay_operator import rules
from fluxpay_operator.duration import Duration
from fluxpay_operator.schema_notes import Rule, noted
from fluxpay_operator.spec_model import SpecModel

CurrencyCode = Annotated[
    str,
    Meta(
        max_length=16,  # More than a code has, so that the rule tells what one looks like.
        description="A currency of ISO 4217, in capitals, such as EUR.",
        extra=noted(rules.CURRENCY),
    ),
]
AmountMinor = Annotated[int, Meta(ge=1, le=AMOUNT_MINOR_MAX)]
Window = Annotated[
    Duration,
    Meta(
        description="The length of the sliding window, from 1s to 1d: 60s, 5m, 1h.",
        extra=noted(rules.WINDOW),
    ),
]


class RateLimitSpec(SpecModel, frozen=True, kw_only=True):
    """A quota of requests in a sliding window."""

    RULES: ClassVar[tuple[Rule, ...]] = (rules.BURST,)

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="Shown to clients in the RateLimit fields. Unique in this list.",
            extra=noted(rules.QUOTA_NAME),
        ),
    ]
    route: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=200,
                description="What the quota is for: `POST /v1/payments`, or `/v1/payments` for any "
                "method. Left out, it is for all routes together.",
                extra=noted(rules.ROUTE),
            ),
        ]
        | None
    ) = None
    requests: Annotated[
        int, Meta(ge=1, le=10_000_000, description="How many requests a window holds.")
    ]
    window: Window
    burst: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=20_000_000,
                description="How many requests a window holds when the one before left quota "
                "unused. At least `requests`; above twice as many has no effect.",
            ),
        ]
        | None
    ) = None


class VelocitySpec(SpecModel, frozen=True, kw_only=True):
    """The most payments in a window."""

    count: Annotated[int, Meta(ge=1, le=10_000_000, description="How many payments it holds.")]
    window: Annotated[
        Window,
        Meta(
            description="The length of the window, from 1s to 1d: 60s, 5m, 1h. Windows are fixed: "
            "each begins where the one before ends, and counts from zero."
        ),
    ]


class PaymentLimitSpec(SpecModel, frozen=True, kw_only=True):
    """What the tenant may take in one currency; a payment beyond it is rejected as fraud."""

    currency: Annotated[
        CurrencyCode,
        Meta(description="One of `currencies`. Unique in this list."),
    ]
    max_amount: Annotated[
        AmountMinor,
        Meta(description="The most one payment may be, in minor units: 1250 is 12.50 EUR."),
    ]
    daily_volume: (
        Annotated[
            AmountMinor,
            Meta(description="The most all payments of a UTC day may come to, in minor units."),
        ]
        | None
    ) = None
    velocity: (
        Annotated[VelocitySpec, Meta(description="The most payments in a short time.")] | None
    ) = None
