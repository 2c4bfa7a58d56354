"""The contract of listing payments: newest first, page by page, and each filter on its own."""

from datetime import timedelta

from fluxpay.core.effects import ListPayments, PostPayment
from fluxpay.core.idempotency import Posted
from fluxpay.core.money import Money
from fluxpay.core.payments import Payment, PaymentFilter, Status
from tests.contracts.law import World, law, new_tenant
from tests.contracts.posting import posting_of

EVERYTHING = PaymentFilter()
INSTANT = timedelta(milliseconds=1)


async def seven_payments(world: World, tenant_id: str) -> list[Payment]:
    """Seven payments, the newest first: yen and euros in turn, three references."""
    made: list[Payment] = []
    for number in range(7):
        posting = posting_of(
            tenant_id,
            f"k-{number}",
            money=Money(100 + number, "EUR" if number % 2 else "JPY"),
            reference=(None, "a", "A")[number % 3],
        )
        assert Posted() == await world.perform(PostPayment(posting))
        made.insert(0, posting.payment)
    return made


async def listed(
    world: World,
    tenant_id: str,
    wanted: PaymentFilter = EVERYTHING,
    *,
    after: str | None = None,
    limit: int = 100,
) -> list[Payment]:
    """What the world lists."""
    payments = await world.perform(ListPayments(tenant_id, wanted, after, limit))
    return list(payments)


@law
async def a_tenant_without_payments_lists_none(world: World) -> None:
    tenant = await new_tenant(world)
    assert [] == await listed(world, tenant.id)


@law
async def a_list_shows_the_tenant_s_own_payments_newest_first(world: World) -> None:
    tenant, other = await new_tenant(world), await new_tenant(world)
    made = await seven_payments(world, tenant.id)
    await seven_payments(world, other.id)
    assert made == await listed(world, tenant.id)


@law
async def pages_follow_one_another_without_a_gap_or_a_repeat(world: World) -> None:
    tenant = await new_tenant(world)
    made = await seven_payments(world, tenant.id)
    pages = [await listed(world, tenant.id, limit=3)]
    while pages[-1]:
        pages.append(await listed(world, tenant.id, after=pages[-1][-1].id, limit=3))
    assert [made[:3], made[3:6], made[6:], []] == pages


@law
async def a_filter_shows_what_passes_it_and_pages_within(world: World) -> None:
    tenant = await new_tenant(world)
    made = await seven_payments(world, tenant.id)
    yen = [one for one in made if one.money.currency == "JPY"]
    assert yen == await listed(world, tenant.id, PaymentFilter(currency="JPY"))
    wanted = PaymentFilter(currency="JPY")
    assert yen[1:3] == await listed(world, tenant.id, wanted, after=yen[0].id, limit=2)
    named = [one for one in made if one.reference == "a"]
    assert named == await listed(world, tenant.id, PaymentFilter(reference="a"))
    both = [one for one in named if one.money.currency == "JPY"]
    wanted = PaymentFilter(reference="a", currency="JPY")
    assert both == await listed(world, tenant.id, wanted)
    assert made == await listed(world, tenant.id, PaymentFilter(status=Status.CAPTURED))
    assert [] == await listed(world, tenant.id, PaymentFilter(status=Status.REFUNDED))
    assert [] == await listed(world, tenant.id, PaymentFilter(reference="' OR true --"))


@law
async def a_time_filter_includes_its_begin_and_excludes_its_end(world: World) -> None:
    tenant = await new_tenant(world)
    made = await seven_payments(world, tenant.id)
    middle = made[3].created_at
    since = [one for one in made if one.created_at >= middle]
    before = [one for one in made if one.created_at < middle]
    assert since == await listed(world, tenant.id, PaymentFilter(created_gte=middle))
    assert before == await listed(world, tenant.id, PaymentFilter(created_lt=middle))
    at_once = [one for one in made if one.created_at == middle]
    wanted = PaymentFilter(created_gte=middle, created_lt=middle + INSTANT)
    assert at_once == await listed(world, tenant.id, wanted)
    assert made[3] in at_once


@law
async def another_tenant_s_cursor_shows_nothing_of_it(world: World) -> None:
    tenant, other = await new_tenant(world), await new_tenant(world)
    made = await seven_payments(world, tenant.id)
    theirs = await seven_payments(world, other.id)
    # Theirs are newer than all of ours, so that is where the page begins.
    assert made == await listed(world, tenant.id, after=theirs[-1].id)
