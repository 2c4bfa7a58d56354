"""Which database answers which effect, as metrics and spans tell it.

Knows effects by type, and the names of OpenTelemetry's conventions for database systems. What this
process answers from its own memory is no operation of a database: counting locally while Redis is
gone, and remembering a reply, which is sent and not waited for. A key is looked up in memory first;
that look-up is measured where Postgres is asked, behind the cache.
"""

from asyncio import CancelledError
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from fluxpay.core import effects
from fluxpay.core.effects import Effect
from fluxpay.stores.problems import StoreError
from fluxpay.web.origins import FROM_REDIS, TABLES

POSTGRES: Final = "postgresql"
REDIS: Final = "redis"

SYSTEM_OF: Final[Mapping[type[Effect[Any]], str]] = MappingProxyType(
    {
        **dict.fromkeys(FROM_REDIS, REDIS),
        **{effect: POSTGRES for effect in TABLES if effect is not effects.FindApiKey},
    }
)
"""The database system of each effect that always asks one."""

OTHER_ERROR: Final = "_OTHER"
REDIS_ERROR: Final = "RedisUnavailable"


def error_type(error: BaseException) -> str:
    """The name of what went wrong, one of few: a store's own, a cancellation, or any other."""
    return type(error).__name__ if isinstance(error, StoreError | CancelledError) else OTHER_ERROR
