"""Which keys a tenant has, how they are replaced, and the Secrets they lie in.

These are parts of the spec of a `Tenant`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from fluxpay.core.keys import Scope
from fluxpay_operator import rules
from fluxpay_operator.duration import Duration
from fluxpay_operator.schema_notes import Rule, noted
from fluxpay_operator.spec_model import Label, SpecModel


class RotationPolicy(StrEnum):
    """Who starts a rotation: the clock, or a person."""

    AUTOMATIC = "Automatic"
    ON_DEMAND = "OnDemand"


class RotationSpec(SpecModel, frozen=True, kw_only=True):
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


class KeySpec(SpecModel, frozen=True, kw_only=True):
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


class SecretTemplate(SpecModel, frozen=True, kw_only=True):
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
