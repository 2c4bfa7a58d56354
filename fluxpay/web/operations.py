"""Which database answers which effect, as metrics and spans tell it.

Knows effects by type, and the names of OpenTelemetry's conventions for database systems. What this
process answers from its own memory is no operation of a database: counting locally while Redis is
gone, and remembering a reply, which is sent and not waited for. A key is looked up in memory first;
that look-up is measured where Postgres is asked, behind the cache.
"""

from asyncio import CancelledError
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, get_args

from fluxpay.core import effects
from fluxpay.core.effects import AnyEffect, Effect
from fluxpay.stores.problems import StoreError

POSTGRES: Final = "postgresql"
REDIS: Final = "redis"

_IN_REDIS: Final = frozenset({effects.CountRequest, effects.CountVelocity, effects.ReadReply})
_IN_MEMORY: Final = frozenset(
    {
        effects.CountRequestLocally,
        effects.CountVelocityLocally,
        effects.FindApiKey,
        effects.RememberReply,
    }
)
SYSTEM_OF: Final[Mapping[type[Effect[Any]], str]] = MappingProxyType(
    {
        effect: REDIS if effect in _IN_REDIS else POSTGRES
        for effect in get_args(AnyEffect)
        if effect not in _IN_MEMORY
    }
)
"""The database system of each effect that always asks one."""

OTHER_ERROR: Final = "_OTHER"
REDIS_ERROR: Final = "RedisUnavailable"


def error_type(error: BaseException) -> str:
    """The name of what went wrong, one of few: a store's own, a cancellation, or any other."""
    return type(error).__name__ if isinstance(error, StoreError | CancelledError) else OTHER_ERROR
