"""What platform teams send to the admin port, as types that validate and convert.

Each body turns into the core's own value: `TenantSpec`, `ApiKey`. Must not know HTTP, nor the
clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_network
from typing import Annotated

import msgspec
from msgspec import Meta

from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.limits import Quota
from fluxpay.core.tenants import Environment, TenantSpec, TenantState
from fluxpay.web.bodies import AmountMinor, CurrencyCode, Instant, PageCursor, PageLimit
from fluxpay.web.validation import distinct


class WantedState(StrEnum):
    """The states that a spec can ask for; closing is a DELETE."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


def network(text: str) -> str | None:
    """A rule for networks: an address, or a network whose host bits are zero."""
    try:
        ip_network(text)
    except ValueError:
        return "Must be an IP network in CIDR notation, host bits zero, such as 10.0.0.0/8."
    return None if "%" not in text else "Must not name a zone."


class PageQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which page of a list, and how many it holds."""

    limit: PageLimit = 20
    cursor: PageCursor | None = None


class Velocity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The most payments in a window."""

    count: Annotated[int, Meta(ge=1, le=10_000_000)]
    window_s: Annotated[int, Meta(ge=1, le=86_400, description="The window in seconds.")]


class PaymentLimitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the tenant may take in one currency."""

    currency: CurrencyCode
    max_amount: AmountMinor
    daily_volume: AmountMinor | None = None
    velocity: Velocity | None = None


class RateLimitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A quota of requests."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=64,
            # `$` alone would let a line feed pass at the end, and this name goes into a header.
            pattern=r"^[A-Za-z0-9_.-]+(?!\n)$",
            description="Shown in the RateLimit fields.",
            extra={"expects": "1 to 64 letters, digits, dots, hyphens or underscores"},
        ),
    ]
    route: (
        Annotated[
            str,
            Meta(
                max_length=200,
                description="What it is for, `POST /v1/payments` or `/v1/payments`; "
                "null for all routes.",
            ),
        ]
        | None
    ) = None
    requests: Annotated[int, Meta(ge=1, le=10_000_000)]
    window_s: Annotated[int, Meta(ge=1, le=86_400, description="The window in seconds.")]
    burst: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=20_000_000,
                description="How many a window holds when the one before left quota unused.",
            ),
        ]
        | None
    ) = None

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        if self.burst is not None and self.burst < self.requests:
            yield "/burst", "Must not be less than requests."


class TenantBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A tenant as it should be."""

    generation: Annotated[
        int, Meta(ge=1, le=2**53 - 1, description="Raise it with every change of the spec.")
    ]
    display_name: Annotated[str, Meta(min_length=1, max_length=200)]
    environment: Environment
    state: WantedState
    currencies: Annotated[
        tuple[CurrencyCode, ...], Meta(min_length=1, max_length=180, extra={"rule": distinct})
    ]
    rate_limits: Annotated[tuple[RateLimitBody, ...], Meta(max_length=32)] | None = None
    payment_limits: Annotated[tuple[PaymentLimitBody, ...], Meta(max_length=180)] | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        names = [limit.name for limit in self.rate_limits or ()]
        for position, name in enumerate(names):
            if name in names[:position]:
                yield f"/rate_limits/{position}/name", "Must differ from the names before it."
        limited = [limit.currency for limit in self.payment_limits or ()]
        for position, currency in enumerate(limited):
            if currency in limited[:position]:
                yield f"/payment_limits/{position}/currency", "Has a limit already."
            if currency not in self.currencies:
                yield f"/payment_limits/{position}/currency", "Must be one of the currencies."

    def spec(self) -> TenantSpec:
        """The spec in the core's words."""
        return TenantSpec(
            generation=self.generation,
            display_name=self.display_name,
            environment=self.environment,
            state=TenantState(self.state),
            currencies=tuple(currency.value for currency in self.currencies),
            rate_limits=tuple(_quota(limit) for limit in self.rate_limits or ()),
            payment_limits=tuple(_payment_limit(limit) for limit in self.payment_limits or ()),
        )


KeyName = Annotated[
    str, Meta(min_length=1, max_length=200, description="For people.", examples=["shop backend"])
]
Scopes = Annotated[
    tuple[Scope, ...],
    Meta(
        min_length=1,
        max_length=len(Scope),
        description="What the key may do.",
        extra={"rule": distinct},
    ),
]
Networks = Annotated[
    tuple[Annotated[str, Meta(min_length=1, max_length=64, extra={"rule": network})], ...],
    Meta(max_length=64, description="Networks it may be used from; none means any."),
]


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key that was made elsewhere, to be registered."""

    name: KeyName
    prefix: Annotated[
        str,
        Meta(
            # No longer than the key id needs, so that no secret can be shown by mistake.
            max_length=34,
            pattern=r"^fp_(live|test)_[0-9A-Za-z]{0,26}(?!\n)$",
            description="The part of the key that lists show.",
            examples=["fp_test_01h455vb4pex5vsknk084sn02q"],
            extra={"expects": "fp_live_ or fp_test_ and at most 26 letters or digits of the key"},
        ),
    ]
    sha256: Annotated[
        str,
        Meta(
            min_length=64,
            max_length=64,
            pattern="^[0-9a-fA-F]{64}$",
            description="SHA-256 of the whole key.",
            extra={"expects": "a SHA-256 digest, 64 hex digits"},
        ),
    ]
    scopes: Scopes
    not_before: Instant | None = None
    expires_at: Instant | None = None
    allowed_cidrs: Networks | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        return _validity_faults(self.not_before, self.expires_at)

    def key(self, key_id: str, tenant_id: str, *, now: datetime) -> ApiKey:
        """The key in the core's words."""
        return _key(self, key_id, tenant_id, now=now, prefix=self.prefix, digest=self.sha256)


class NewKeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A key to be made."""

    name: KeyName
    scopes: Scopes
    not_before: Instant | None = None
    expires_at: Instant | None = None
    allowed_cidrs: Networks | None = None

    def faults(self) -> Iterator[tuple[str, str]]:
        """What is wrong between the fields."""
        return _validity_faults(self.not_before, self.expires_at)

    def key(
        self, key_id: str, tenant_id: str, *, now: datetime, prefix: str, digest: str
    ) -> ApiKey:
        """The key in the core's words.

        Args:
            key_id: The id it was minted with.
            tenant_id: Whose key it is.
            now: The instant it is made.
            prefix: The part of it that may be shown.
            digest: SHA-256 of the whole key, in hex.
        """
        return _key(self, key_id, tenant_id, now=now, prefix=prefix, digest=digest)


def _quota(body: RateLimitBody) -> Quota:
    return Quota(
        name=body.name,
        requests=body.requests,
        window_s=body.window_s,
        burst=body.burst,
        route=body.route,
    )


def _payment_limit(body: PaymentLimitBody) -> PaymentLimit:
    return PaymentLimit(
        currency=body.currency.value,
        max_amount_minor=body.max_amount,
        daily_volume_minor=body.daily_volume,
        velocity_count=body.velocity.count if body.velocity else None,
        velocity_window_s=body.velocity.window_s if body.velocity else None,
    )


def _validity_faults(
    not_before: datetime | None, expires_at: datetime | None
) -> Iterator[tuple[str, str]]:
    if not_before is not None and expires_at is not None and expires_at <= not_before:
        yield "/expires_at", "Must be later than not_before."


def _key(
    body: KeyBody | NewKeyBody,
    key_id: str,
    tenant_id: str,
    *,
    now: datetime,
    prefix: str,
    digest: str,
) -> ApiKey:
    return ApiKey(
        id=key_id,
        tenant_id=tenant_id,
        name=body.name,
        prefix=prefix,
        digest=digest.lower(),
        scopes=frozenset(body.scopes),
        created_at=now,
        not_before=_shown(body.not_before),
        expires_at=_shown(body.expires_at),
        # Written in one way, so that the same networks sent again are no change.
        allowed_cidrs=tuple(str(ip_network(cidr)) for cidr in body.allowed_cidrs or ()),
    )


def _shown(moment: datetime | None) -> datetime | None:
    """The instant in UTC, to the millisecond: what is not shown is not kept."""
    return None if moment is None else whole_ms(moment.astimezone(UTC))


def whole_ms(moment: datetime) -> datetime:
    """The instant with what is less than a millisecond cut off."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
