"""The world of the simulation obeys the contract, so what is simulated is what is built."""

import time

from tests.contracts.contract import CHAPTERS, EVERY_LAW
from tests.contracts.law import LAWS, Law
from tests.simulation.world import InMemoryWorld


@EVERY_LAW
async def test_the_in_memory_world_obeys(law: Law) -> None:
    await law(InMemoryWorld(lambda: time.time_ns() // 1_000_000))


def test_every_chapter_of_the_contract_has_laws() -> None:
    chapters = {getattr(law, "__module__", "") for law in LAWS}
    assert {chapter.__name__ for chapter in CHAPTERS} == chapters
