"""The OpenAPI document of the API port, as `/openapi.json` serves it and `fluxpay openapi` prints.

It stands apart from the generator so that the table of routes can hold the route that serves it.
"""

from __future__ import annotations

from typing import Any

from fluxpay.web.api_description import describe
from fluxpay.web.routes import API_ROUTES


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    return describe(API_ROUTES)
