"""The contract of counting and remembering: what Redis answers, or the process while it is gone.

The windows are about thirty years long, so that no boundary falls into a test.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime

from fluxpay.core.effects import (
    CountRequest,
    CountRequestLocally,
    CountVelocity,
    CountVelocityLocally,
    ReadReply,
    RememberReply,
    Unavailable,
)
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.idempotency import Claim, StoredReply
from fluxpay.core.ids import IdKind
from fluxpay.core.limits import Quota, WindowCount, admits
from fluxpay.core.money import AMOUNT_MINOR_MAX, Money
from tests.contracts.law import World, law, new_id

AGES_S = 1_000_000_000
WIDE = Quota("wide", requests=50, window_s=AGES_S)
NARROW = Quota("narrow", requests=5, window_s=AGES_S, route="POST /v1/payments")

ANSWER_TRIES = 200


async def counted(world: World, effect: CountRequest | CountRequestLocally) -> list[int]:
    """How many requests each quota held before this one."""
    counts: tuple[WindowCount, ...] | Unavailable
    if isinstance(effect, CountRequest):
        counts = await world.perform(effect)
    else:
        counts = await world.perform(effect)
    assert not isinstance(counts, Unavailable)
    for count, quota in zip(counts, effect.quotas, strict=True):
        assert 0 == count.previous
        assert 0 <= count.elapsed_ms < quota.window_ms
    return [count.current for count in counts]


async def velocity_of(world: World, effect: CountVelocity | CountVelocityLocally) -> Velocity:
    """The tenant's velocity with this payment."""
    velocity: Velocity | Unavailable
    if isinstance(effect, CountVelocity):
        velocity = await world.perform(effect)
    else:
        velocity = await world.perform(effect)
    assert isinstance(velocity, Velocity)
    return velocity


async def remembered(world: World, claim: Claim, reply: StoredReply) -> StoredReply | None:
    """The reply as the cache has it once it took it in; remembering is not waited for."""
    await world.perform(RememberReply(claim, reply))
    for _ in range(ANSWER_TRIES):
        found = await world.perform(ReadReply(claim))
        assert not isinstance(found, Unavailable)
        if found == reply:
            return found
        await asyncio.sleep(0.01)
    return None


@law
async def each_request_is_counted_once_until_the_quota_is_spent(world: World) -> None:
    for ask in (CountRequest, CountRequestLocally):
        tenant_id = new_id(IdKind.TENANT)
        counts = [await counted(world, ask(tenant_id, (NARROW,))) for _ in range(8)]
        assert [[0], [1], [2], [3], [4], [5], [5], [5]] == counts


@law
async def a_request_counts_against_all_quotas_or_against_none(world: World) -> None:
    for ask in (CountRequest, CountRequestLocally):
        tenant_id = new_id(IdKind.TENANT)
        for number in range(5):
            assert [number, number] == await counted(world, ask(tenant_id, (WIDE, NARROW)))
        for _ in range(3):
            assert [5, 5] == await counted(world, ask(tenant_id, (WIDE, NARROW)))
        assert [5] == await counted(world, ask(tenant_id, (WIDE,)))
        assert [6] == await counted(world, ask(tenant_id, (WIDE,)))


@law
async def tenants_are_counted_apart(world: World) -> None:
    for ask in (CountRequest, CountRequestLocally):
        for _ in range(3):
            assert [0] == await counted(world, ask(new_id(IdKind.TENANT), (NARROW,)))


@law
async def of_many_requests_at_once_exactly_the_quota_is_admitted(world: World) -> None:
    tenant_id = new_id(IdKind.TENANT)
    asked = (world.perform(CountRequest(tenant_id, (WIDE,))) for _ in range(150))
    admitted: Counter[bool] = Counter()
    for counts in await asyncio.gather(*asked):
        assert not isinstance(counts, Unavailable)
        admitted[admits(WIDE, counts[0])] += 1
    assert {True: 50, False: 100} == admitted


@law
async def payments_are_counted_until_the_velocity_would_be_passed(world: World) -> None:
    limit = PaymentLimit("EUR", 10**6, velocity_count=3, velocity_window_s=AGES_S)
    for ask in (CountVelocity, CountVelocityLocally):
        tenant_id = new_id(IdKind.TENANT)
        counts = [
            (await velocity_of(world, ask(tenant_id, Money(10, "EUR"), limit))).count
            for _ in range(6)
        ]
        assert [1, 2, 3, 4, 4, 4] == counts


@law
async def a_payment_too_large_for_the_day_takes_no_room_from_smaller_ones(world: World) -> None:
    limit = PaymentLimit("EUR", 10**6, daily_volume_minor=100)
    for ask in (CountVelocity, CountVelocityLocally):
        while True:
            day = datetime.now(UTC).date()
            tenant_id = new_id(IdKind.TENANT)
            volumes = [
                (await velocity_of(world, ask(tenant_id, Money(amount, "EUR"), limit))).volume_minor
                for amount in (60, 50, 40, 1)
            ]
            # A day that turns meanwhile begins a new sum: then once more, on the new day.
            if day == datetime.now(UTC).date():
                break
        assert [60, 110, 100, 101] == volumes


@law
async def currencies_and_tenants_have_velocities_of_their_own(world: World) -> None:
    for ask in (CountVelocity, CountVelocityLocally):
        one, other = new_id(IdKind.TENANT), new_id(IdKind.TENANT)
        for tenant_id, currency in ((one, "EUR"), (one, "JPY"), (other, "EUR")):
            limit = PaymentLimit(currency, 10**6, velocity_count=3, velocity_window_s=AGES_S)
            velocity = await velocity_of(world, ask(tenant_id, Money(10, currency), limit))
            assert 1 == velocity.count


@law
async def the_largest_amount_is_summed_exactly(world: World) -> None:
    limit = PaymentLimit("EUR", AMOUNT_MINOR_MAX, daily_volume_minor=AMOUNT_MINOR_MAX)
    for ask in (CountVelocity, CountVelocityLocally):
        money = Money(AMOUNT_MINOR_MAX, "EUR")
        velocity = await velocity_of(world, ask(new_id(IdKind.TENANT), money, limit))
        assert AMOUNT_MINOR_MAX == velocity.volume_minor


@law
async def a_reply_is_read_back_as_it_was_remembered(world: World) -> None:
    claim = Claim(new_id(IdKind.TENANT), "k", "a" * 64)
    assert await world.perform(ReadReply(claim)) is None
    for reply in (
        StoredReply("a" * 64, 422, b""),
        StoredReply("b" * 64, 201, bytes(range(256)), location="/v1/payments/pay_1"),
    ):
        assert reply == await remembered(world, claim, reply)


@law
async def a_reply_is_for_its_tenant_and_its_key_alone(world: World) -> None:
    claim = Claim(new_id(IdKind.TENANT), "k", "a" * 64)
    reply = StoredReply("a" * 64, 201, b"{}")
    assert reply == await remembered(world, claim, reply)
    others = (
        Claim(new_id(IdKind.TENANT), "k", "a" * 64),
        Claim(claim.tenant_id, "K", "a" * 64),
        Claim(claim.tenant_id, "k ", "a" * 64),
    )
    for other in others:
        assert await world.perform(ReadReply(other)) is None
    # The fingerprint is no part of the name: who asks something else has to find the reply too.
    assert reply == await world.perform(ReadReply(Claim(claim.tenant_id, "k", "c" * 64)))
