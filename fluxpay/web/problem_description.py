"""Problems as the OpenAPI document tells them: which a route can answer with, and what each is.

Which ones follows from the gates that a route has to pass, and from what it says of itself. Must
not know any route in particular.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from fluxpay.core.problems import PROBLEMS, Code, problem_type

if TYPE_CHECKING:
    from fluxpay.web.route import Route

PATH_PARAMETER: Final = re.compile(r"\{(\w+)\}")

_ANY_ROUTE: Final = (
    Code.MALFORMED_REQUEST,
    Code.HTTPS_REQUIRED,
    Code.EXPECTATION_FAILED,
    Code.INTERNAL_ERROR,
    Code.SERVICE_UNAVAILABLE,
)
_KEYED: Final = (
    Code.UNAUTHORIZED,
    Code.ADDRESS_NOT_ALLOWED,
    Code.TENANT_SUSPENDED,
    Code.SCOPE_MISSING,
    Code.RATE_LIMITED,
)
_IDEMPOTENT: Final = (
    Code.IDEMPOTENCY_KEY_MISSING,
    Code.IDEMPOTENCY_KEY_MALFORMED,
    Code.IDEMPOTENCY_IN_FLIGHT,
    Code.IDEMPOTENCY_KEY_EXPIRED,
    Code.IDEMPOTENCY_KEY_REUSED,
)
_WITH_BODY: Final = (
    Code.MALFORMED_JSON,
    Code.BODY_TIMEOUT,
    Code.BODY_TOO_LARGE,
    Code.UNSUPPORTED_MEDIA_TYPE,
    Code.VALIDATION_FAILED,
)


def codes(route: Route) -> tuple[Code, ...]:
    """Every refusal that a route can answer with: its own, and those of its gates."""
    found = [*_ANY_ROUTE, *route.problems]
    if route.scope is not None:
        found += _KEYED
    if route.idempotent:
        found += _IDEMPOTENT
    if route.body is not None:
        found += _WITH_BODY
    if route.query is not None:
        found.append(Code.INVALID_PARAMETER)
    if PATH_PARAMETER.search(route.path):
        found.append(Code.NOT_FOUND)
    return tuple(code for code in PROBLEMS if code in found)


def code_schema() -> dict[str, Any]:
    """All codes, each with its status, its title and what to do."""
    return {
        "title": "Code",
        "description": "The stable name of a problem.",
        "type": "string",
        "oneOf": [
            {
                "const": code,
                "title": problem.title,
                "description": f"HTTP status {problem.status}. {problem.remedy}",
            }
            for code, problem in PROBLEMS.items()
        ],
    }


def problem_example(code: Code) -> dict[str, Any]:
    """A problem as it might be answered."""
    problem = PROBLEMS[code]
    return {
        "summary": problem.title,
        "description": problem.remedy,
        "value": {
            "type": problem_type(code),
            "title": problem.title,
            "status": problem.status,
            "detail": f"{problem.title}.",
            "instance": "/v1/payments",
            "code": code,
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        },
    }
