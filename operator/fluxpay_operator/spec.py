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

from fluxpay.core.tenants import Environment
from fluxpay_operator import rules
from fluxpay_operator.duration import Duration
from fluxpay_operator.key_specs import KeySpec, SecretTemplate
from fluxpay_operator.limit_specs import CurrencyCode, PaymentLimitSpec, RateLimitSpec
from fluxpay_operator.schema_notes import Rule, noted
from fluxpay_operator.spec_model import Label, SpecModel

GROUP: Final = "fluxpay.io"
VERSION: Final = "v1alpha1"
PLURAL: Final = "tenants"
KIND: Final = "Tenant"


class WantedState(StrEnum):
    """The states that a spec can ask for; closing is a deletion."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


class DeletionPolicy(StrEnum):
    """What becomes of the tenant when its resource is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class WebhookSpec(SpecModel, frozen=True, kw_only=True):
    """Where events of the tenant are to be delivered."""

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


class Spec(SpecModel, frozen=True, kw_only=True):
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
            description="Where events of the tenant are to be delivered. This release delivers "
            "none and keeps what is written here.",
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


def _duration(wanted: type, value: object) -> Duration:
    if wanted is not Duration or not isinstance(value, str):
        raise ValueError("Expected a duration")
    return Duration(value)
