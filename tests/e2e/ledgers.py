"""Books with every kind of life in them, written through the stores as the service writes them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg2
from uuid_utils import uuid7

from fluxpay.core.effects import ChangePayment, PutTenant
from fluxpay.core.idempotency import Claim, Posted, fingerprint
from fluxpay.core.payment_changes import Changed, Command
from fluxpay.core.payments import Action, CaptureMode
from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.stores.connection import SessionLimits
from fluxpay.stores.database import Database as Service
from fluxpay.stores.payment_changes import PaymentChanges
from fluxpay.stores.pool import Pool
from fluxpay.stores.tenants import Tenants
from fluxpay.stores.writer import PaymentWriter
from tests.conftest import Database
from tests.contracts.law import spec_of
from tests.stores.postings import posting, tenant_id

MANUAL = CaptureMode.MANUAL


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was written; amounts are told where they are made."""

    tenant: str
    other_tenant: str
    captured: str
    """12.50 euros, captured at once."""
    parcels: str
    """10.00 euros, of which 6.00 were captured in two and 1.00 refunded; the rest was voided."""
    refund_of_parcels: str
    expired: str
    voided: str
    opened: str
    """9.00 euros, still authorized."""
    refunded: str
    """7.00 euros, given back in two refunds."""
    fresh: str
    """Captured, and not sealed yet."""


class Bookkeeper:
    """Writes payments of one tenant, and seals them when told to."""

    def __init__(self, pool: Pool, tenant: str, now: datetime, *, key_prefix: str = "k") -> None:
        self.tenant = tenant
        self._pool = pool
        self._writer = PaymentWriter(pool, batch_max=8, writers_max=1)
        self._changes = PaymentChanges(pool)
        self._now = now
        self._key_prefix = key_prefix
        self._keys = 0

    async def enrolled(self) -> None:
        await Tenants(self._pool).put(PutTenant(self.tenant, spec_of(), self._tick()))

    async def pay(self, amount_minor: int, capture: CaptureMode = CaptureMode.AUTOMATIC) -> str:
        made = posting(
            self.tenant, self._key(), amount_minor=amount_minor, capture=capture, now=self._tick()
        )
        assert Posted() == await self._writer.post(made)
        return made.payment.id

    async def change(self, payment_id: str, action: Action, amount_minor: int | None = None) -> str:
        """Change a payment, and give the id of what the reply shows."""
        command = Command(action, amount_minor, "as wished" if action is Action.REFUND else None)
        claim = Claim(self.tenant, self._key(), fingerprint("POST", "/", repr(command).encode()))
        effect = ChangePayment(payment_id, command, claim, uuid7().int, self._tick())
        changed = await self._changes.change(effect)
        assert isinstance(changed, Changed)
        shown: str = json.loads(changed.reply.body)["id"]
        return shown

    async def expire(self, payment_id: str) -> None:
        later = self._tick() + timedelta(days=8)
        assert await self._changes.expire(self.tenant, payment_id, uuid=uuid7().int, now=later)

    async def seal(self) -> None:
        async with self._pool.connection() as connection, connection.transaction():
            await connection.fetch_one("SELECT seal_ledger(1000)")

    async def close(self) -> None:
        await self._writer.close()

    def _key(self) -> str:
        self._keys += 1
        return f"{self._key_prefix}-{self._keys}"

    def _tick(self) -> datetime:
        # Never two changes in one millisecond, so that their order can be told.
        self._now += timedelta(milliseconds=10)
        return self._now


async def write_ledger(app_url: str) -> Ledger:
    """Fill an empty database."""
    pool = Service(app_url, limits=SessionLimits()).pool(max_size=2)
    now = datetime.now(UTC) - timedelta(hours=1)
    keeper, other = (Bookkeeper(pool, tenant_id(), now) for _ in range(2))
    await keeper.enrolled()
    await other.enrolled()

    captured = await keeper.pay(1250)
    parcels = await keeper.pay(1000, MANUAL)
    await keeper.seal()
    await keeper.change(parcels, Action.CAPTURE, 400)
    await keeper.change(parcels, Action.CAPTURE, 200)
    expired = await keeper.pay(300, MANUAL)
    voided = await keeper.pay(500, MANUAL)
    await other.pay(77)
    await keeper.seal()
    refund_of_parcels = await keeper.change(parcels, Action.REFUND, 100)
    await keeper.change(parcels, Action.VOID)
    await keeper.change(voided, Action.VOID)
    refunded = await keeper.pay(700)
    await keeper.change(refunded, Action.REFUND, 250)
    await keeper.seal()
    await keeper.change(refunded, Action.REFUND)
    await keeper.expire(expired)
    opened = await keeper.pay(900, MANUAL)
    await keeper.seal()
    fresh = await keeper.pay(60)

    await keeper.close()
    await other.close()
    await pool.close()
    return Ledger(
        tenant=keeper.tenant,
        other_tenant=other.tenant,
        captured=captured,
        parcels=parcels,
        refund_of_parcels=refund_of_parcels,
        expired=expired,
        voided=voided,
        opened=opened,
        refunded=refunded,
        fresh=fresh,
    )


def fluxpay(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with these FLUXPAY_ variables alone."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith("FLUXPAY_")}
    return subprocess.run(
        [sys.executable, "-m", "fluxpay.cli", *arguments],
        env={**clean, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def copy_of(postgres: EmbeddedPostgres, name: str, template: str) -> Database:
    """A new database with all that is in another; drop it when done."""
    run(postgres, f"CREATE DATABASE {name} TEMPLATE {template}")
    return Database(owner_url=postgres.owner_url(name), app_url=postgres.app_url(name), name=name)


def drop(postgres: EmbeddedPostgres, name: str) -> None:
    """Throw a database away."""
    run(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def run(postgres: EmbeddedPostgres, statement: str) -> None:
    """Run a statement about databases, which no transaction may hold."""
    with closing(psycopg2.connect(postgres.owner_url("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)


def rows(
    url: str, statement: str, parameters: Mapping[str, object] | None = None
) -> list[tuple[object, ...]]:
    """What a query finds."""
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def tamper(owner_url: str, *statements: str) -> None:
    """Change rows by hand, past every trigger, as somebody with all privileges can."""
    with closing(psycopg2.connect(owner_url)) as connection, connection, connection.cursor() as sql:
        sql.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            sql.execute(statement)
            assert sql.rowcount > 0, statement
