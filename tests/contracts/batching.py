"""The contract of posting an atomic batch: all of it or none, and every outcome is told."""

from dataclasses import replace

from fluxpay.core.batches import Aborted
from fluxpay.core.effects import FindRecord, PostBatch, PostPayment, RecordReply
from fluxpay.core.idempotency import Mismatched, Posted, Replayed, StoredReply
from tests.contracts.law import World, law, new_tenant, now
from tests.contracts.posting import OTHER_FINGERPRINT, assert_absent, assert_stored, posting_of


@law
async def a_batch_is_posted_as_a_whole_and_read_back(world: World) -> None:
    tenant = await new_tenant(world)
    batch = tuple(posting_of(tenant.id, f"k-{n}") for n in range(3))
    assert (Posted(),) * 3 == await world.perform(PostBatch(batch))
    for posting in batch:
        await assert_stored(world, posting)


@law
async def the_first_reply_that_is_recorded_is_the_one_that_is_kept(world: World) -> None:
    tenant = await new_tenant(world)
    claim = posting_of(tenant.id, "batch").claim
    first = StoredReply(claim.fingerprint, 200, b'{"results":[]}')
    later = StoredReply(OTHER_FINGERPRINT, 200, b'{"results":[1]}')
    assert first == await world.perform(RecordReply(claim, first, now()))
    assert first == await world.perform(RecordReply(claim, first, now()))
    assert first == await world.perform(
        RecordReply(replace(claim, fingerprint=OTHER_FINGERPRINT), later, now())
    )
    assert first == await world.perform(FindRecord(claim))


@law
async def a_batch_with_replays_posts_the_rest(world: World) -> None:
    tenant = await new_tenant(world)
    first, again = posting_of(tenant.id, "k"), posting_of(tenant.id, "k")
    new = posting_of(tenant.id, "new")
    await world.perform(PostPayment(first))
    assert (Replayed(first.reply), Posted()) == await world.perform(PostBatch((again, new)))
    await assert_stored(world, new)
    await assert_absent(world, again)


@law
async def a_batch_with_a_mismatch_posts_nothing_and_uses_no_key_up(world: World) -> None:
    tenant = await new_tenant(world)
    first, again = posting_of(tenant.id, "old"), posting_of(tenant.id, "old")
    used, other = posting_of(tenant.id, "used"), posting_of(tenant.id, "used")
    other = replace(other, claim=replace(other.claim, fingerprint=OTHER_FINGERPRINT))
    new = posting_of(tenant.id, "new")
    assert (Posted(), Posted()) == await world.perform(PostBatch((first, used)))
    expected = (Aborted(), Mismatched(), Replayed(first.reply))
    assert expected == await world.perform(PostBatch((new, other, again)))
    await assert_absent(world, new)
    assert Posted() == await world.perform(PostPayment(new))
