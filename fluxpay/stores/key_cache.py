"""Keys that were looked up a moment ago, so that not every request asks Postgres.

Bounded in number and in age: what an entry says is at most `ttl_s` old, so a key revoked
elsewhere works here no longer than that. Requests that miss together ask once. An unknown key is
not remembered: it may be registered the next moment, and strangers must not fill the cache.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fluxpay.core.credentials import Credential
    from fluxpay.core.effects import FindApiKey

TTL_S: Final = 5.0
ENTRIES_MAX: Final = 10_000


class KeyCache:
    """Answers `FindApiKey` from memory while that is fresh.

    Args:
        find: Asks the database.
        monotonic_s: A clock that never goes back.
    """

    def __init__(
        self,
        find: Callable[[FindApiKey], Awaitable[Credential | None]],
        *,
        monotonic_s: Callable[[], float],
        ttl_s: float = TTL_S,
        entries_max: int = ENTRIES_MAX,
    ) -> None:
        self._find = find
        self._monotonic_s = monotonic_s
        self._ttl_s = ttl_s
        self._entries_max = entries_max
        self._entries: OrderedDict[str, tuple[float, Credential]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Credential | None]] = {}
        self._epoch = 0
        self.was_hit = False
        """Whether the last answer came from memory; true for whoever just got it."""
        self.hits = 0
        self.misses = 0

    @property
    def entries(self) -> int:
        """Keys that are remembered, those included that are too old to be used."""
        return len(self._entries)

    async def find(self, effect: FindApiKey) -> Credential | None:
        """Answer from memory, or ask and remember.

        Raises:
            StoreError: The database could not be asked; what is stale is not used instead, since
                a revoked key must stop working.
        """
        entry = self._entries.get(effect.digest)
        if entry is not None and entry[0] > self._monotonic_s():
            self._entries.move_to_end(effect.digest)
            self.hits += 1
            self.was_hit = True
            return entry[1]
        self.misses += 1
        task = self._asking.get(effect.digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._ask(effect))
            self._asking[effect.digest] = task
            task.add_done_callback(lambda done: self._asked(effect.digest, done))
        # One of those who wait may be cancelled; the others still want the answer.
        try:
            return await asyncio.shield(task)
        finally:
            # Set last, so that nobody comes between this and whoever reads it next.
            self.was_hit = False

    def clear(self) -> None:
        """Forget everything: this process has just changed a tenant or a key."""
        self._epoch += 1
        self._entries.clear()
        self._asking.clear()

    async def _ask(self, effect: FindApiKey) -> Credential | None:
        epoch = self._epoch
        # Its age counts from before the question: what changes meanwhile is not in the answer.
        fresh_until = self._monotonic_s() + self._ttl_s
        found = await self._find(effect)
        if found is not None and epoch == self._epoch:
            self._entries[effect.digest] = (fresh_until, found)
            self._entries.move_to_end(effect.digest)
            if len(self._entries) > self._entries_max:
                self._entries.popitem(last=False)
        return found

    def _asked(self, digest: str, done: asyncio.Task[Credential | None]) -> None:
        if self._asking.get(digest) is done:
            del self._asking[digest]
        if not done.cancelled():
            # Retrieved here too, in case everybody who waited was cancelled.
            done.exception()
