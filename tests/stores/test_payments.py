"""Reading payments back: every column, in UTC, and for one tenant alone."""

from contextlib import closing
from datetime import UTC

import psycopg2

from fluxpay.core.effects import FindPayment
from fluxpay.core.payments import CaptureMode
from fluxpay.stores.payments import Payments
from fluxpay.stores.pool import Pool
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.stores.postings import posting, tenant_id


async def test_a_payment_reads_as_it_was_posted_whatever_the_time_zone_of_the_server(
    pool: Pool, database: Database
) -> None:
    with closing(psycopg2.connect(database.owner_url)) as owner, owner.cursor() as cursor:
        cursor.execute(f"ALTER DATABASE {database.name} SET timezone TO 'Asia/Kathmandu'")
        owner.commit()
    writer = PaymentWriter(pool, batch_max=8, writers_max=1)
    one = posting(tenant_id(), "k", reference='"\\\n→', capture=CaptureMode.MANUAL)
    await writer.post(one)
    found = await Payments(pool).find(FindPayment(one.payment.tenant_id, one.payment.id))
    assert one.payment == found
    assert found.expires_at is not None
    assert [UTC, UTC] == [found.created_at.tzinfo, found.expires_at.tzinfo]


async def test_a_payment_is_there_for_its_own_tenant_alone(pool: Pool) -> None:
    writer = PaymentWriter(pool, batch_max=8, writers_max=1)
    one = posting(tenant_id(), "k")
    await writer.post(one)
    assert await Payments(pool).find(FindPayment(tenant_id(), one.payment.id)) is None
