"""The world of the simulation obeys the contract, so what is simulated is what is built."""

import time

from fluxpay.core.payment_creation import Posting
from tests.contracts.contract import CHAPTERS, EVERY_LAW
from tests.contracts.law import LAWS, Law
from tests.contracts.posting import a_claim_whose_record_is_gone_still_names_its_payment
from tests.simulation.world import InMemoryWorld


def new_world() -> InMemoryWorld:
    """An empty world on the machine's clock."""
    return InMemoryWorld(lambda: time.time_ns() // 1_000_000)


@EVERY_LAW
async def test_the_in_memory_world_obeys(law: Law) -> None:
    await law(new_world())


async def test_a_claim_whose_record_is_gone_still_names_its_payment() -> None:
    world = new_world()

    def forget(posting: Posting) -> None:
        del world.database.records[posting.claim.tenant_id, posting.claim.key]

    await a_claim_whose_record_is_gone_still_names_its_payment(world, forget)


def test_every_chapter_of_the_contract_has_laws() -> None:
    chapters = {getattr(law, "__module__", "") for law in LAWS}
    assert {chapter.__name__ for chapter in CHAPTERS} == chapters
