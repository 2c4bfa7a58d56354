"""The spec of a `Tenant` resource, as types: what a platform team may write, within what bounds.

This is the one source: the CRD is generated from it, the page of the reference is checked against
it, and the operator reads resources by it. The API server has held every bound and rule by the
time the operator reads; the rest of the operator may rely on that.

A value that travels to the admin API is spelled as there (`live`, `suspended`); one that only
Kubernetes knows is spelled as Kubernetes would (`Retain`, `OnDemand`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final

import msgspec
from msgspec import Meta

from fluxpay.core.keys import Scope
from fluxpay.core.money import AMOUNT_MINOR_MAX
from fluxpay.core.tenants import Environment
from fluxpay_operator import rules
from fluxpay_operator.duration import Duration
from fluxpay_operator.schema_notes import Rule, noted

GROUP: Final = "fluxpay.io"
VERSION: Final = "v1alpha1"
PLURAL: Final = "tenants"
KIND: Final = "Tenant"

ROTATE_ANNOTATION_PREFIX: Final = "rotate.fluxpay.io/"
"""Rotates one key on demand: the key's name follows the slash, any new value is a new wish.

`kubectl annotate tenant shop rotate.fluxpay.io/till="$(date +%s)" --overwrite`. The wish last
granted stands in `status.keys[].rotationHandled`, so an annotation that stays, or that a GitOps
tool writes again, rotates nothing twice. One that is there when the key is first made is taken
as granted.
"""
ROTATION_WISH_CHARS_MAX: Final = 64
"""What of an annotation's value counts: the rest is cut off before it is compared and kept."""


class WantedState(StrEnum):
    """The states that a spec can ask for; closing is a deletion."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class RotationPolicy(StrEnum):
    """Who starts a rotation: the clock, or a person."""

    AUTOMATIC = "Automatic"
    ON_DEMAND = "OnDemand"


class DeletionPolicy(StrEnum):
    """What becomes of the tenant when its resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class _Model(msgspec.Struct, frozen=True, rename="camel"):
    """Members it does not know are passed over: a newer CRD may run beside an older operator."""


Label = Annotated[str, Meta(min_length=1, max_length=63, extra=noted(rules.LABEL))]
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


class RateLimitSpec(_Model, frozen=True, kw_only=True):
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


class VelocitySpec(_Model, frozen=True, kw_only=True):
    """The most payments in a window."""

    count: Annotated[int, Meta(ge=1, le=10_000_000, description="How many payments it holds.")]
    window: Window


class PaymentLimitSpec(_Model, frozen=True, kw_only=True):
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


class RotationSpec(_Model, frozen=True, kw_only=True):
    """How a key is replaced by a new one."""

    RULES: ClassVar[tuple[Rule, ...]] = rules.ROTATION

    policy: Annotated[
        RotationPolicy,
        Meta(
            description="`Automatic` replaces the key every `interval`; `OnDemand` only when the "
            "annotation `rotate.fluxpay.io/<key name>` gets a new value, which works with both."
        ),
    ] = RotationPolicy.ON_DEMAND
    interval: (
        Annotated[
            Duration,
            Meta(
                description="How long a key is in use before the next one replaces it, at least "
                "30s. Required with `Automatic`.",
                extra=noted(rules.INTERVAL),
            ),
        ]
        | None
    ) = None
    overlap: Annotated[
        Duration,
        Meta(
            description="How long the old key still works beside the new one. `0s` ends it at "
            "once. Shorter than `interval` and than the key's `expiresAfter`."
        ),
    ] = Duration("1h")


class KeySpec(_Model, frozen=True, kw_only=True):
    """An API key; the operator makes it and keeps it in a Secret of its own."""

    RULES: ClassVar[tuple[Rule, ...]] = rules.KEY

    name: Annotated[
        Label,
        Meta(
            description="Unique in this list. The Secret is named after the tenant and the key: "
            "`<tenant>-<key>`."
        ),
    ]
    scopes: Annotated[
        tuple[Scope, ...],
        Meta(
            min_length=1,
            max_length=len(Scope),
            description="What the key may do.",
            extra=noted(unique=""),
        ),
    ]
    expires_after: (
        Annotated[
            Duration,
            Meta(
                description="How long the key is valid from the moment it is made, at least 1m, "
                "such as 90d. Required in the environment `live`; left out, it never expires.",
                extra=noted(rules.EXPIRES_AFTER),
            ),
        ]
        | None
    ) = None
    rotation: Annotated[RotationSpec, Meta(description="How the key is replaced by a new one.")] = (
        RotationSpec()
    )
    allowed_cidrs: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=43, extra=noted(rules.NETWORK))], ...],
        Meta(
            max_length=64,
            description="The networks the key may be used from, such as 10.0.0.0/8. Left out or "
            "empty, any.",
            extra=noted(unique=""),
        ),
    ] = msgspec.field(name="allowedCIDRs", default=())


class SecretTemplate(_Model, frozen=True, kw_only=True):
    """What the Secrets of the keys are to look like."""

    name: (
        Annotated[
            Label,
            Meta(
                description="Takes the place of the tenant's name in the names of the Secrets: "
                "`<name>-<key>`."
            ),
        ]
        | None
    ) = None
    labels: Annotated[
        Mapping[str, Annotated[str, Meta(max_length=63, extra=noted(rules.LABEL_VALUE))]],
        Meta(
            max_length=32,
            description="Labels for every Secret.",
            extra=noted(rules.QUALIFIED, rules.OWN_PREFIX),
        ),
    ] = {}
    annotations: Annotated[
        Mapping[str, Annotated[str, Meta(max_length=1024)]],
        Meta(
            max_length=32,
            description="Annotations for every Secret.",
            extra=noted(rules.QUALIFIED, rules.OWN_PREFIX),
        ),
    ] = {}


class WebhookSpec(_Model, frozen=True, kw_only=True):
    """Where events of the tenant are delivered."""

    name: Annotated[Label, Meta(description="Unique in this list.")]
    url: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2048,
            description="An https:// address without user or password.",
            extra=noted(rules.HTTPS),
        ),
    ]
    events: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=64, extra=noted(rules.EVENT))], ...],
        Meta(
            max_length=32,
            description="The event types to deliver, such as payment.captured. Left out or empty, "
            "all.",
            extra=noted(unique=""),
        ),
    ] = ()


class Spec(_Model, frozen=True, kw_only=True):
    """A tenant of FluxPay, as its platform team wants it."""

    RULES: ClassVar[tuple[Rule, ...]] = rules.SPEC

    display_name: Annotated[
        str, Meta(min_length=1, max_length=200, description="The tenant's name, for people.")
    ]
    environment: Annotated[
        Environment,
        Meta(
            description="Whether the money is real: `live` or `test`. It can never be changed.",
            extra=noted(rules.ENVIRONMENT),
        ),
    ]
    tenant_id: (
        Annotated[
            str,
            Meta(
                max_length=64,
                description="Adopts the tenant of this id, `ten_…`, instead of making a new one. "
                "It can never be changed; on a running tenant it may be added if it equals "
                "`status.tenantID`.",
                extra=noted(rules.TENANT_ID),
            ),
        ]
        | None
    ) = msgspec.field(name="tenantID", default=None)
    state: Annotated[
        WantedState,
        Meta(description="`suspended` refuses all requests of the tenant; its keys stay."),
    ] = WantedState.ACTIVE
    currencies: Annotated[
        tuple[CurrencyCode, ...],
        Meta(
            min_length=1,
            max_length=180,
            description="The currencies the tenant takes.",
            extra=noted(unique=""),
        ),
    ]
    rate_limits: Annotated[
        tuple[RateLimitSpec, ...],
        Meta(
            max_length=32,
            description="Quotas of requests. Where none matches, the service's own default holds.",
            extra=noted(unique="name"),
        ),
    ] = ()
    payment_limits: Annotated[
        tuple[PaymentLimitSpec, ...],
        Meta(
            max_length=180,
            description="What the tenant may take, by currency. Without one, nothing is limited.",
            extra=noted(unique="currency"),
        ),
    ] = ()
    api_keys: Annotated[
        tuple[KeySpec, ...],
        Meta(
            max_length=16,
            description="The API keys. One taken from this list is revoked, its Secret deleted.",
            extra=noted(unique="name"),
        ),
    ] = ()
    secret_template: (
        Annotated[SecretTemplate, Meta(description="What the Secrets are to look like.")] | None
    ) = None
    webhooks: Annotated[
        tuple[WebhookSpec, ...],
        Meta(
            max_length=16,
            description="Where events of the tenant are delivered.",
            extra=noted(unique="name"),
        ),
    ] = ()
    deletion_policy: Annotated[
        DeletionPolicy,
        Meta(
            description="When this resource is deleted: `Retain` keeps the tenant and its keys "
            "working; `Delete` closes the tenant and revokes its keys. The books always stay."
        ),
    ] = DeletionPolicy.RETAIN


class InvalidSpec(msgspec.Struct, frozen=True):
    """The spec cannot be read, so the CRD in place is not ours or not of this version."""

    detail: str


def parse_spec(spec: Mapping[str, Any]) -> Spec | InvalidSpec:
    """Read the `spec` of a resource.

    Args:
        spec: As the API server sent it, defaults filled in or not.
    """
    try:
        return msgspec.convert(dict(spec), Spec, dec_hook=_duration)
    except msgspec.ValidationError as error:
        return InvalidSpec(str(error).replace("`$", "`spec"))


def rotation_wish(annotations: Mapping[str, str], key_name: str) -> str | None:
    """What was last asked for this key by annotation: any new value is a new wish."""
    wish = annotations.get(f"{ROTATE_ANNOTATION_PREFIX}{key_name}")
    return None if wish is None else wish[:ROTATION_WISH_CHARS_MAX]


def _duration(wanted: type, value: object) -> Duration:
    if wanted is not Duration or not isinstance(value, str):
        raise ValueError("Expected a duration")
    return Duration(value)
