"""The status of a `Tenant` resource, as types: what the operator tells about a tenant.

Prefixes and dates, never a secret. The CRD is generated from this as from the spec. Two members
exist only because a column of `kubectl get` can neither count nor choose: `keysReady` and
`nextRotation`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from fluxpay_operator import rules
from fluxpay_operator.marks import ROTATION_WISH_CHARS_MAX
from fluxpay_operator.schema_notes import noted

MESSAGE_CHARS_MAX: Final = 1024
RETIRING_KEYS_MAX: Final = 16


class ConditionType(StrEnum):
    """What a condition is about."""

    READY = "Ready"
    KEYS_ISSUED = "KeysIssued"
    QUOTA_APPLIED = "QuotaApplied"
    DEGRADED = "Degraded"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"


class ConditionStatus(StrEnum):
    """Whether it holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class _Model(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Left out where nothing is known, so that a status shows only what is."""


Generation = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Instant = Annotated[str, Meta(max_length=30, extra=noted(form="date-time"))]
Prefix = Annotated[str, Meta(max_length=34, description="The part of the key that may be shown.")]
KeyId = Annotated[str, Meta(max_length=30, description="The key's id in FluxPay, `key_…`.")]


class Condition(_Model, frozen=True, kw_only=True):
    """One thing that holds of the tenant, or does not, and since when."""

    type: Annotated[ConditionType, Meta(description="What this condition is about.")]
    status: Annotated[ConditionStatus, Meta(description="Whether it holds.")]
    reason: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            description="Why, in one word for programs.",
            extra=noted(rules.REASON),
        ),
    ]
    message: Annotated[
        str, Meta(max_length=MESSAGE_CHARS_MAX, description="Why, in words for people.")
    ]
    observed_generation: Annotated[
        Generation, Meta(description="The `metadata.generation` this was said of.")
    ]
    last_transition_time: Annotated[
        Instant, Meta(description="When `status` last changed to what it is.")
    ]


class RetiringKey(_Model, frozen=True, kw_only=True):
    """A key that was replaced and still works until its overlap ends."""

    id: KeyId
    prefix: Prefix
    expires_at: Annotated[Instant, Meta(description="When it stops working.")]


class KeyStatus(_Model, frozen=True, kw_only=True):
    """One key of `spec.apiKeys`, as it is in use."""

    name: Annotated[str, Meta(max_length=63, description="Its name in `spec.apiKeys`.")]
    id: KeyId | None = None
    prefix: Prefix | None = None
    secret_name: (
        Annotated[str, Meta(max_length=253, description="The Secret that holds it.")] | None
    ) = None
    issued_at: Annotated[Instant, Meta(description="When it was made.")] | None = None
    expires_at: (
        Annotated[Instant, Meta(description="When it stops working, if it ever does.")] | None
    ) = None
    rotates_at: (
        Annotated[Instant, Meta(description="When it is replaced by itself, if it ever is.")] | None
    ) = None
    rotation_handled: (
        Annotated[
            str,
            Meta(
                max_length=ROTATION_WISH_CHARS_MAX,
                description="The value of the annotation `rotate.fluxpay.io/<name>` that was last "
                "acted on.",
            ),
        ]
        | None
    ) = None
    retiring: Annotated[
        tuple[RetiringKey, ...],
        Meta(
            max_length=RETIRING_KEYS_MAX,
            description="Keys it replaced that still work.",
            extra=noted(unique="id"),
        ),
    ] = ()


class Binding(_Model, frozen=True, kw_only=True):
    """The Secret to bind, as servicebinding.io looks it up."""

    name: Annotated[
        str, Meta(max_length=253, description="The Secret of the first of `spec.apiKeys`.")
    ]


class Status(_Model, frozen=True, kw_only=True):
    """What the operator last saw of the tenant."""

    observed_generation: (
        Annotated[Generation, Meta(description="The `metadata.generation` last acted on.")] | None
    ) = None
    tenant_id: (
        Annotated[
            str,
            Meta(
                max_length=30, description="The tenant's id in FluxPay.", extra=noted(rules.OWN_ID)
            ),
        ]
        | None
    ) = msgspec.field(name="tenantID", default=None)
    generation_base: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=2**53 - 1,
                description="What is added to `metadata.generation` to give the tenant's "
                "generation in FluxPay: not zero for an adopted tenant.",
            ),
        ]
        | None
    ) = None
    binding: Annotated[Binding, Meta(description="The Secret to bind.")] | None = None
    keys_ready: (
        Annotated[
            str, Meta(max_length=7, description="How many keys are issued, of how many: `2/2`.")
        ]
        | None
    ) = None
    next_rotation: (
        Annotated[Instant, Meta(description="When the next key is replaced by itself.")] | None
    ) = None
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=16,
            description="What holds of the tenant: Ready, KeysIssued, QuotaApplied, Degraded, "
            "Reconciling, Stalled.",
            extra=noted(unique="type"),
        ),
    ] = ()
    keys: Annotated[
        tuple[KeyStatus, ...],
        Meta(
            max_length=32,
            description="The keys in use: prefixes and dates, never a secret.",
            extra=noted(unique="name"),
        ),
    ] = ()
