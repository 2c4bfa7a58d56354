"""Every refusal FluxPay can answer with, in ONE table: code, status, title, what to do.

Knows the public face of errors. It must not know HTTP machinery or internals: nothing here may
reveal more than the caller already knows. Source: RFC 9457 (problem details).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class Code(StrEnum):
    """The stable name of a problem; clients branch on it, never on titles."""

    MALFORMED_REQUEST = "malformed_request"
    MALFORMED_JSON = "malformed_json"
    INVALID_PARAMETER = "invalid_parameter"
    IDEMPOTENCY_KEY_MISSING = "idempotency_key_missing"
    IDEMPOTENCY_KEY_MALFORMED = "idempotency_key_malformed"
    UNAUTHORIZED = "unauthorized"
    HTTPS_REQUIRED = "https_required"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    TENANT_SUSPENDED = "tenant_suspended"
    SCOPE_MISSING = "scope_missing"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BODY_TIMEOUT = "body_timeout"
    IDEMPOTENCY_IN_FLIGHT = "idempotency_in_flight"
    IDEMPOTENCY_KEY_EXPIRED = "idempotency_key_expired"
    INVALID_TRANSITION = "invalid_transition"
    BATCH_ABORTED = "batch_aborted"
    INSUFFICIENT_FUNDS = "insufficient_funds"
    STALE_GENERATION = "stale_generation"
    TENANT_CLOSED = "tenant_closed"
    ENVIRONMENT_FIXED = "environment_fixed"
    KEY_CONFLICT = "key_conflict"
    BODY_TOO_LARGE = "body_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION_FAILED = "expectation_failed"
    VALIDATION_FAILED = "validation_failed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    AMOUNT_TOO_LARGE = "amount_too_large"
    CURRENCY_NOT_ENABLED = "currency_not_enabled"
    FRAUD_REJECTED = "fraud_rejected"
    RATE_LIMITED = "rate_limited"
    INTERNAL_ERROR = "internal_error"
    SERVICE_UNAVAILABLE = "service_unavailable"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is the same for every occurrence of a problem.

    Args:
        status: The HTTP status it is answered with.
        title: A short summary; never differs between occurrences.
        remedy: What the caller can do about it, in plain words.
        stored: Whether an idempotent replay must give the same refusal again.
    """

    status: int
    title: str
    remedy: str
    stored: bool = False


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong.

    Args:
        pointer: A JSON pointer as a URI fragment, `#/amount`; into the query for parameters.
        detail: What is wrong with it.
    """

    pointer: str
    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The decision not to do what was asked, and why.

    Args:
        code: Which problem this is.
        detail: This occurrence in a sentence, for a person; holds nothing internal.
        errors: The fields at fault, if fields are.
        members: Further members of the problem document, such as `rule`.
        retry_after_s: After how many whole seconds trying again can succeed.
    """

    code: Code
    detail: str
    errors: tuple[FieldError, ...] = ()
    members: tuple[tuple[str, str | int | tuple[str, ...]], ...] = ()
    retry_after_s: int | None = None


PROBLEMS: Final[Mapping[Code, Problem]] = MappingProxyType(
    {
        Code.MALFORMED_REQUEST: Problem(
            400,
            "The request is not well-formed HTTP",
            "Check the request line and the headers. At most 128 headers are read, and no line "
            "may be longer than 8190 bytes.",
        ),
        Code.MALFORMED_JSON: Problem(
            400,
            "The body is not well-formed JSON",
            "Send one JSON object (RFC 8259) in UTF-8, without NaN or Infinity, without a name "
            "given twice, without lone surrogates or U+0000.",
        ),
        Code.INVALID_PARAMETER: Problem(
            400,
            "A query parameter is not valid",
            "See `errors` for the parameters at fault. A cursor comes from `next_cursor` or the "
            "`Link` header of the page before; it cannot be made by hand.",
        ),
        Code.IDEMPOTENCY_KEY_MISSING: Problem(
            400,
            "The Idempotency-Key header is missing",
            "Give every request that changes something a key of its own, such as a fresh UUID, "
            "and repeat that key when you retry.",
        ),
        Code.IDEMPOTENCY_KEY_MALFORMED: Problem(
            400,
            "The Idempotency-Key header is not well-formed",
            "Use 1 to 255 visible ASCII characters, bare or as a quoted string, in one header.",
        ),
        Code.UNAUTHORIZED: Problem(
            401,
            "A valid key is required",
            "Send `Authorization: Bearer` followed by the whole key. If the key expired or was "
            "revoked, ask for a new one.",
        ),
        Code.HTTPS_REQUIRED: Problem(
            403,
            "Plain HTTP is refused",
            "Use https. Behind a proxy that ends TLS, list it in FLUXPAY_TRUSTED_PROXIES and let "
            "it send `X-Forwarded-Proto: https`.",
        ),
        Code.ADDRESS_NOT_ALLOWED: Problem(
            403,
            "This key may not be used from this address",
            "Call from an address inside the key's allowed networks, or have them changed.",
        ),
        Code.TENANT_SUSPENDED: Problem(
            403,
            "The tenant is suspended",
            "Ask the platform team to set the tenant's state back to active.",
        ),
        Code.SCOPE_MISSING: Problem(
            403,
            "The key lacks a scope",
            "Use a key that has the scope named in `scope`.",
        ),
        Code.NOT_FOUND: Problem(
            404,
            "There is nothing here",
            "Check the path and the id. What belongs to another tenant is not here either.",
        ),
        Code.METHOD_NOT_ALLOWED: Problem(
            405,
            "This path does not take this method",
            "Use one of the methods in the `Allow` header.",
        ),
        Code.BODY_TIMEOUT: Problem(
            408,
            "The body did not arrive in time",
            "Send the whole body without pausing, and retry with the same Idempotency-Key.",
        ),
        Code.IDEMPOTENCY_IN_FLIGHT: Problem(
            409,
            "The first request with this key is still being worked on",
            "Wait as long as `Retry-After` says, then send the same request again.",
        ),
        Code.IDEMPOTENCY_KEY_EXPIRED: Problem(
            409,
            "This key belongs to an older payment whose reply is no longer kept",
            "Read the payment named in `payment_id`. For another payment, use a new key.",
        ),
        Code.INVALID_TRANSITION: Problem(
            409,
            "The state of the payment does not allow this",
            "`payment_status` names its state and `allowed` what can be done in it. Read the "
            "payment again if another request may have changed it.",
        ),
        Code.BATCH_ABORTED: Problem(
            409,
            "Another payment of the atomic batch was refused",
            "Nothing was made. Correct or leave out the item at `cause_index`, counted from 0, "
            "and send the batch with new keys.",
        ),
        Code.INSUFFICIENT_FUNDS: Problem(
            409,
            "The account may not be overdrawn",
            "`available` names what can be taken out of the account in `account_id`, in minor "
            "units. Transfer less, wait for money to come in, or lift the account's "
            "`no_overdraft`.",
        ),
        Code.STALE_GENERATION: Problem(
            409,
            "A newer generation of this tenant is already in place",
            "Read the tenant and send a generation above its own.",
        ),
        Code.TENANT_CLOSED: Problem(
            409,
            "The tenant is closed",
            "A closed tenant stays closed and keeps its books. Make a new tenant with a new id.",
        ),
        Code.ENVIRONMENT_FIXED: Problem(
            409,
            "The environment of a tenant never changes",
            "Make a second tenant for the other environment.",
        ),
        Code.KEY_CONFLICT: Problem(
            409,
            "This key id or digest is taken",
            "Make a new key with a new id. A revoked key cannot be registered again.",
        ),
        Code.BODY_TOO_LARGE: Problem(
            413,
            "The body is too large",
            "Send a smaller body; the limit is named in `detail`.",
        ),
        Code.UNSUPPORTED_MEDIA_TYPE: Problem(
            415,
            "The body is not of a type that is read here",
            "Send `Content-Type: application/json`, not compressed.",
        ),
        Code.EXPECTATION_FAILED: Problem(
            417,
            "The expectation cannot be met",
            "Only `Expect: 100-continue` is understood.",
        ),
        Code.VALIDATION_FAILED: Problem(
            422,
            "The request is well-formed but not valid",
            "See `errors` for each field at fault.",
        ),
        Code.IDEMPOTENCY_KEY_REUSED: Problem(
            422,
            "The Idempotency-Key was used for another request",
            "Use a new key for a new request. To retry, repeat the first request unchanged.",
        ),
        Code.AMOUNT_TOO_LARGE: Problem(
            422,
            "The amount is more than what is left",
            "`limit` names what is left of the authorization or of the captured amount, in minor "
            "units. Leave `amount` out to take all of it.",
        ),
        Code.CURRENCY_NOT_ENABLED: Problem(
            422,
            "The tenant does not take this currency",
            "Pay in one of the tenant's currencies, or have this one enabled.",
        ),
        Code.FRAUD_REJECTED: Problem(
            422,
            "A fraud rule rejected the payment",
            "The rule is named in `rule`. Nothing was booked. Retrying with the same key gives "
            "the same answer.",
            stored=True,
        ),
        Code.RATE_LIMITED: Problem(
            429,
            "The rate limit is reached",
            "Wait as long as `Retry-After` says. `RateLimit-Policy` names the quotas.",
        ),
        Code.INTERNAL_ERROR: Problem(
            500,
            "Something went wrong inside FluxPay",
            "Retry with the same Idempotency-Key. If it stays, report the `trace_id`.",
        ),
        Code.SERVICE_UNAVAILABLE: Problem(
            503,
            "FluxPay cannot take this request right now",
            "Wait as long as `Retry-After` says, then retry with the same Idempotency-Key: "
            "nothing is ever done twice.",
        ),
    }
)


def document(refused: Refused, *, instance: str, trace_id: str) -> dict[str, object]:
    """The members of a problem document, in their order.

    Args:
        instance: The path that was asked for, as the client wrote it.
        trace_id: 32 lower-case hex digits.
    """
    problem = PROBLEMS[refused.code]
    members: dict[str, object] = {
        "type": problem_type(refused.code),
        "title": problem.title,
        "status": problem.status,
        "detail": refused.detail,
        "instance": instance,
        "code": refused.code,
        "trace_id": trace_id,
    }
    members |= {name: value for name, value in refused.members if name not in members}
    if refused.errors:
        members["errors"] = [
            {"pointer": one.pointer, "detail": one.detail} for one in refused.errors
        ]
    return members


def problem_type(code: Code) -> str:
    """The `type` member of the problem document: a relative URI that can be looked up."""
    return f"/problems/{code}"
