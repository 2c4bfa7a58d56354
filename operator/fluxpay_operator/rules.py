"""The rules of a `Tenant` that a bound cannot say, in CEL, with what to do when one is broken.

The API server evaluates them before anything is stored, and shows the message behind the field's
path. Each is cheap: the server estimates its cost from the bounds of the model and refuses a CRD
that could be slow. Source: the Kubernetes documentation on CEL, libraries of release 1.31.
"""

from typing import Final

from fluxpay.core.money import EXPONENTS
from fluxpay_operator.schema_notes import Rule

LABEL: Final = Rule(
    "self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')",
    "must be lower-case letters, digits and hyphens, with a letter or digit at both ends",
)
CURRENCY: Final = Rule(
    f"self in {sorted(EXPONENTS)}".replace('"', "'"),
    "must be the ISO 4217 code of a currency in circulation, in capitals, such as EUR",
)
WINDOW: Final = Rule(
    "self >= duration('1s') && self <= duration('24h')",
    "must last from 1s to 1d, such as 60s or 5m",
)
QUOTA_NAME: Final = Rule(
    "self.matches('^[A-Za-z0-9_.-]+$')",
    "must be letters, digits, dots, hyphens and underscores",
)
ROUTE: Final = Rule(
    "self.matches('^((GET|POST|PUT|PATCH|DELETE) )?/[!-~]*$')",
    "must be a path, or a method and a path, such as 'POST /v1/payments'",
)
BURST: Final = Rule(
    "!has(self.burst) || self.burst >= self.requests",
    "burst must not be less than requests",
    field=".burst",
)
INTERVAL: Final = Rule("self >= duration('30s')", "must last at least 30s, such as 30d")
EXPIRES_AFTER: Final = Rule("self >= duration('1m')", "must last at least 1m, such as 90d")
ROTATION: Final = (
    Rule(
        "self.policy != 'Automatic' || has(self.interval)",
        "policy Automatic needs an interval, such as 30d",
        field=".interval",
    ),
    Rule(
        "self.policy == 'Automatic' || !has(self.interval)",
        "interval is for policy Automatic only: set that policy, or remove interval",
        field=".interval",
    ),
    Rule(
        "!has(self.interval) || self.overlap < self.interval",
        "overlap must be shorter than interval",
        field=".overlap",
    ),
)
KEY: Final = (
    Rule(
        "!has(self.expiresAfter) || !has(self.rotation.interval)"
        " || self.rotation.interval < self.expiresAfter",
        "rotation.interval must be shorter than expiresAfter, or the key ends before its successor"
        " is made",
        field=".rotation.interval",
    ),
    Rule(
        "!has(self.expiresAfter) || self.rotation.overlap < self.expiresAfter",
        "rotation.overlap must be shorter than expiresAfter",
        field=".rotation.overlap",
    ),
)
NETWORK: Final = Rule(
    "isCIDR(self) && cidr(self).masked() == cidr(self)",
    "must be a network in CIDR notation with its host bits zero, such as 10.0.0.0/8",
)
QUALIFIED: Final = Rule(
    "self.all(key, key.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?"
    "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",
    "keys must be names as Kubernetes wants them, such as example.com/owner",
)
OWN_PREFIX: Final = Rule(
    "self.all(key, !key.matches('^([a-z0-9.-]*[.])?fluxpay[.]io/'))",
    "keys must not have the prefix fluxpay.io, which is the operator's own",
)
LABEL_VALUE: Final = Rule(
    "self.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$')",
    "must be letters, digits, dots, hyphens and underscores, with a letter or digit at both ends",
)
HTTPS: Final = Rule(
    "isURL(self) && url(self).getScheme() == 'https' && url(self).getHost() != ''"
    " && !self.contains('@')",
    "must be an https:// URL without user or password",
)
EVENT: Final = Rule(
    "self.matches('^[a-z_]+([.][a-z_]+)*$')",
    "must be an event type, such as payment.captured",
)
ENVIRONMENT: Final = Rule(
    "self == oldSelf",
    "environment is immutable: make a new Tenant for the other environment",
)
TENANT_ID: Final = Rule(
    "self.matches('^ten_[0-7][0-9a-hjkmnp-tv-z]{25}$')",
    "must be a tenant id: ten_ and 26 characters, such as ten_01jzc7m0q8e9vs2dw4xg5tb6nk",
)
OWN_ID: Final = Rule("self == oldSelf", "a tenant keeps its id for life")
REASON: Final = Rule(
    "self.matches('^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$')",
    "must be one word in CamelCase",
)
SPEC: Final = (
    Rule(
        "self.environment != 'live' || !has(self.apiKeys)"
        " || self.apiKeys.all(key, has(key.expiresAfter))",
        "keys of the environment live must expire: give each an expiresAfter, such as 90d",
        field=".apiKeys",
    ),
    Rule(
        "!has(self.paymentLimits)"
        " || self.paymentLimits.all(limit, limit.currency in self.currencies)",
        "each paymentLimits[].currency must be one of currencies",
        field=".paymentLimits",
    ),
)
RESOURCE: Final = (
    Rule(
        "self.metadata.name.size() <= 63",
        "metadata.name must have at most 63 characters, so that Secrets and labels can bear it",
    ),
    Rule(
        "!has(oldSelf.spec.tenantID)"
        " || (has(self.spec.tenantID) && self.spec.tenantID == oldSelf.spec.tenantID)",
        "tenantID is immutable: put it back, or make a new Tenant",
        field=".spec.tenantID",
    ),
    Rule(
        "has(oldSelf.spec.tenantID) || !has(self.spec.tenantID)"
        " || (has(self.status) && has(self.status.tenantID)"
        " && self.spec.tenantID == self.status.tenantID)",
        "tenantID cannot be added to a running tenant, unless it is the value of status.tenantID",
        field=".spec.tenantID",
    ),
)
