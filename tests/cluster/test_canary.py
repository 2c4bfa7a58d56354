"""No key is to be found anywhere but in its Secret: not in logs, Events, resources or databases."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg2
import redis

from tests.cluster.admin_front import AdminFront
from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Launch, Site, launch_for, until
from tests.cluster.shop import Shop, key
from tests.conftest import Database
from tests.e2e.serving import ADMIN_TOKEN, serving
from tests.logs.scanning import card_numbers

CARD = "4111 1111 1111 1111"
OURS = ("timestamp", "trace_id", "span_id", "tenant_id", "key_id")


async def test_no_key_and_no_token_leaves_its_place(
    site: Site, kubectl: Kubectl, database: Database, redis_url: str
) -> None:
    async with serving(database, redis_url) as service, AdminFront(service.admin_url) as front:
        launch = launch_for(site, service, FLUXPAY_LOG_LEVEL="DEBUG")
        launch.admin_url = front.url
        shop = Shop(kubectl, service)
        tokens = [ADMIN_TOKEN, *await a_busy_life(launch, shop, front)]
        tokens.append(account_token(site))
        lines = [line for one in launch.started for line in one.lines()]
        assert len(set(tokens)) == len(tokens) == 7
        places = {
            "events": kubectl.run("get", "events", "--output=yaml"),
            "tenants": kubectl.run("get", "tenants", "--output=yaml", "--show-managed-fields"),
            "described": kubectl.run("describe", "tenants"),
            "leases": kubectl.run("get", "leases", "--output=yaml"),
            "logs": "".join(path.read_text("utf-8") for path in site.folder.glob("*.log")),
            "audit log": site.plane.audit_log.read_text(encoding="utf-8"),
            "database": database_text(database),
            "redis": redis_text(redis_url),
        }
    assert "" not in places.values()
    # A secret is also one when somebody cut it, or when it stands in base64.
    found = [
        (place, token[:12])
        for place, text in places.items()
        for token in tokens
        if token[-30:] in text or token in text
    ]
    assert [] == found
    assert {("timestamp", "level", "logger", "event")} == {tuple(line)[:4] for line in lines}
    told = [{name: line[name] for name in line if name not in OURS} for line in lines]
    assert [] == [line for line in told if card_numbers(str(line))]
    # All that is logged goes one way: the library that watches, and what we say of a tenant.
    assert {"fluxpay.operator", "kopf.objects"} <= {line["logger"] for line in lines}
    assert CARD not in str(lines)
    assert {"shop"} == {line["tenant"] for line in lines if line["event"] == "tenant_news"}


async def a_busy_life(launch: Launch, shop: Shop, front: AdminFront) -> list[str]:
    """Issue, rotate, heal, fail and restart, with all there is to log; gives each key there was."""
    tokens = []
    async with launch.running() as operator:
        shop.apply(key("till"), key("office"))
        await shop.becomes("Ready")
        tokens += [shop.token("till"), shop.token("office")]
        shop.annotate("rotate.fluxpay.io/till=now")
        await until(lambda: shop.token() not in tokens, what="the rotation")
        tokens.append(shop.token())
        shop.kubectl.run("delete", "secret", "shop-till")
        await until(lambda: shop.secret() is not None, what="the Secret")
        tokens.append(shop.token())
        front.answers = 422
        shop.annotate("rotate.fluxpay.io/office=now")
        await shop.becomes("Degraded")
        front.answers = 500
        shop.patch({"spec": {"displayName": f"Again {CARD}"}})
        await shop.becomes("Reconciling")
        assert tokens[0] not in await operator.metrics()
    front.answers = None
    async with launch.running():
        shop.patch({"spec": {"displayName": "And again"}})
        await until(lambda: shop.token("office") != tokens[1], what="the rotation")
        await shop.becomes("Ready")
        tokens.append(shop.token("office"))
    return tokens


def account_token(site: Site) -> str:
    """The operator's own token for Kubernetes."""
    text = Path(site.account.kubeconfig).read_text(encoding="utf-8")
    return text.rpartition('"token": "')[2].partition('"')[0]


def database_text(database: Database) -> str:
    """Everything that the database holds, as text."""
    rows: list[str] = []
    with closing(psycopg2.connect(database.owner_url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET row_security = off")
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{table}" t')
            rows += [text for (text,) in cursor.fetchall()]
    return "\n".join(rows)


def redis_text(url: str) -> str:
    """Everything that Valkey holds, as text."""
    with redis.Redis.from_url(url) as client:
        parts = [b"valkey"]
        for name in client.scan_iter():
            parts += [name, client.dump(name) or b""]
    return b"\n".join(parts).decode("latin-1")
