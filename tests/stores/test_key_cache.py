"""The key cache: bounded in age and number, and never older than a change made here."""

import asyncio
from dataclasses import dataclass, field

from fluxpay.core.credentials import Credential
from fluxpay.core.effects import FindApiKey
from fluxpay.stores.key_cache import KeyCache
from tests.core.examples import api_key, tenant

FOUND = Credential(key=api_key(), tenant=tenant())
ASK = FindApiKey(FOUND.key.digest)


@dataclass
class Source:
    """Where keys come from, and a clock; counts how often it was asked."""

    answer: Credential | None = FOUND
    asked: list[str] = field(default_factory=list)
    now_s: float = 100.0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def find(self, effect: FindApiKey) -> Credential | None:
        self.asked.append(effect.digest)
        answer = self.answer
        await self.gate.wait()
        return answer

    def cache(self, *, entries_max: int = 3) -> KeyCache:
        return KeyCache(self.find, monotonic_s=lambda: self.now_s, ttl_s=5, entries_max=entries_max)


async def under_way(source: Source) -> None:
    """Wait until the question has reached the source."""
    while not source.asked:
        await asyncio.sleep(0)


def opened() -> Source:
    source = Source()
    source.gate.set()
    return source


async def test_a_fresh_key_is_not_asked_for_again() -> None:
    source = opened()
    cache = source.cache()
    found = [(await cache.find(ASK), cache.was_hit) for _ in range(3)]
    assert [(FOUND, False), (FOUND, True), (FOUND, True)] == found
    assert 1 == len(source.asked)


async def test_a_key_revoked_elsewhere_is_gone_when_its_time_is_over() -> None:
    source = opened()
    cache = source.cache()
    await cache.find(ASK)
    source.answer = None
    source.now_s += 4.9
    assert await cache.find(ASK) == FOUND
    source.now_s += 0.2
    assert await cache.find(ASK) is None


async def test_the_age_of_an_answer_counts_from_the_question() -> None:
    source = Source()
    cache = source.cache()
    asking = asyncio.ensure_future(cache.find(ASK))
    await under_way(source)
    # The answer travels for a long time, and is old when it arrives.
    source.now_s += 6
    source.gate.set()
    await asking
    await cache.find(ASK)
    assert 2 == len(source.asked)


async def test_an_unknown_key_is_not_remembered() -> None:
    source = opened()
    source.answer = None
    cache = source.cache()
    assert await cache.find(ASK) is None
    source.answer = FOUND
    assert FOUND == await cache.find(ASK)


async def test_those_who_miss_together_ask_once_even_if_one_of_them_leaves() -> None:
    source = Source()
    cache = source.cache()
    asking = [asyncio.ensure_future(cache.find(ASK)) for _ in range(5)]
    await asyncio.sleep(0)
    asking[0].cancel()
    await asyncio.sleep(0)
    source.gate.set()
    assert [FOUND] * 4 == await asyncio.gather(*asking[1:])
    assert 1 == len(source.asked)


async def test_clearing_also_discards_an_answer_that_is_on_its_way() -> None:
    source = Source()
    cache = source.cache()
    asking = asyncio.ensure_future(cache.find(ASK))
    await under_way(source)
    cache.clear()
    source.answer = None
    source.gate.set()
    assert FOUND == await asking
    assert await cache.find(ASK) is None


async def test_the_key_used_longest_ago_makes_room() -> None:
    source = opened()
    cache = source.cache(entries_max=2)
    for digest in ("a", "b", "a", "c", "a", "b"):
        await cache.find(FindApiKey(digest))
    assert ["a", "b", "c", "b"] == source.asked


async def test_a_failed_question_is_told_and_asked_again() -> None:
    source = opened()
    calls = 0

    async def failing(effect: FindApiKey) -> Credential | None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError
        return await source.find(effect)

    cache = KeyCache(failing, monotonic_s=lambda: 0.0)
    first = await asyncio.gather(cache.find(ASK), cache.find(ASK), return_exceptions=True)
    assert [ConnectionError] * 2 == [type(error) for error in first]
    assert FOUND == await cache.find(ASK)
