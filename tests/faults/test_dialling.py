"""How a session finds its host when some of them refuse, stay silent, or are the wrong kind."""

import asyncio
import gc
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from psycopg2 import extensions

from fluxpay.embedded.postgres import EmbeddedPostgres
from fluxpay.stores.connection import Connection, SessionLimits, connect
from fluxpay.stores.problems import StoreUnavailable
from fluxpay.stores.wire import Wire
from tests.faults.proxy import FaultProxy

LIMITS = SessionLimits()
QUERY = "SELECT current_setting('in_hot_standby')"


async def _connect(url: str, connect_timeout_s: float = 10) -> Connection:
    return await connect(url, limits=LIMITS, connect_timeout_s=connect_timeout_s)


def _open_descriptors() -> int:
    gc.collect()  # what earlier tests have dropped must not go in the middle of this one
    return sum(1 for _ in Path("/dev/fd").iterdir())


def _over(*proxies: FaultProxy) -> str:
    hosts = ",".join(f"{proxy.host}:{proxy.port}" for proxy in proxies)
    return f"postgresql://fluxpay_owner@{hosts}/faults?sslmode=disable"


@pytest.fixture(scope="module")
def standby(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server that takes no writes, as a primary does after it has been replaced."""
    directory = tmp_path_factory.mktemp("standby")
    EmbeddedPostgres.start(directory).stop()
    (directory / "postgres" / "standby.signal").touch()
    server = EmbeddedPostgres.start(directory)
    yield server
    server.stop()


@pytest.mark.usefixtures("url")
async def test_a_blackholed_first_host_gives_way_to_the_next(server_socket: Path) -> None:
    async with (
        asyncio.timeout(30),
        FaultProxy(server_socket) as silent,
        FaultProxy(server_socket) as sound,
    ):
        silent.blackhole()
        connection = await _connect(_over(silent, sound), connect_timeout_s=0.5)
        answer = await connection.fetch_one("SELECT 1")
        connection.close()
        assert (1,) == answer
        assert (1, 1) == (silent.accepted, sound.accepted)


@pytest.mark.usefixtures("url")
async def test_a_refused_host_gives_way_and_leaves_later_connects_whole(
    server_socket: Path,
) -> None:
    async with FaultProxy(server_socket) as refusing, FaultProxy(server_socket) as sound:
        await refusing.refuse()
        for _ in range(5):
            with pytest.raises(StoreUnavailable, match="refused"):
                await _connect(_over(refusing))
            connection = await _connect(_over(refusing, sound))
            answer = await connection.fetch_one("SELECT 1")
            connection.close()
            assert (1,) == answer


@pytest.mark.usefixtures("url")
async def test_a_host_may_be_a_name(server_socket: Path) -> None:
    async with FaultProxy(server_socket) as proxy:
        url = f"postgresql://fluxpay_owner@localhost:{proxy.port}/faults?sslmode=disable"
        connection = await _connect(url)
        answer = await connection.fetch_one("SELECT 1")
        connection.close()
    assert (1,) == answer


async def test_a_standby_gives_way_to_the_primary(url: str, standby: EmbeddedPostgres) -> None:
    primary, replaced = extensions.parse_dsn(url)["host"], standby.sockets
    found = []
    for wanted, folders in (
        ("any", f"{replaced},{primary}"),
        ("read-write", f"{replaced},{primary}"),
        ("prefer-standby", f"{primary},{replaced}"),
    ):
        both = f"postgresql://fluxpay_owner@/postgres?host={folders}"
        connection = await _connect(f"{both}&target_session_attrs={wanted}")
        found.append((wanted, await connection.fetch_one(QUERY)))
        connection.close()
    assert [("any", ("on",)), ("read-write", ("off",)), ("prefer-standby", ("on",))] == found


async def test_a_standby_alone_will_not_do_for_writing(standby: EmbeddedPostgres) -> None:
    url = standby.owner_url("postgres") + "&target_session_attrs=read-write"
    with pytest.raises(StoreUnavailable, match="read-only"):
        await _connect(url)


async def test_a_preferred_standby_that_is_missing_is_no_obstacle(url: str) -> None:
    connection = await _connect(f"{url}&target_session_attrs=prefer-standby")
    answer = await connection.fetch_one(QUERY)
    connection.close()
    assert ("off",) == answer


@pytest.mark.usefixtures("url")
async def test_a_socket_that_libpq_replaces_while_connecting_is_followed(
    server_socket: Path,
) -> None:
    # With two hosts behind one name libpq itself moves on to its next socket, inside a poll.
    async with FaultProxy(server_socket) as refusing, FaultProxy(server_socket) as sound:
        await refusing.refuse()
        parameters = {
            "host": "127.0.0.1,127.0.0.1",
            "port": f"{refusing.port},{sound.port}",
            "user": "fluxpay_owner",
            "dbname": "faults",
            "sslmode": "disable",
        }
        async with asyncio.timeout(10):
            wire = await Wire(parameters, timeout_s=5).established()
        wire.end()
        assert 1 == sound.accepted


@pytest.mark.usefixtures("url")
async def test_connecting_asks_the_server_nothing(server_socket: Path) -> None:
    async with FaultProxy(server_socket, record=True) as proxy:
        connection = await _connect(_over(proxy))
        asked = bytes(proxy.requests)
        connection.close()
    # The start-up packet begins with its own length: after it comes no query.
    assert struct.unpack_from(">I", asked)[0] == len(asked)


async def test_a_connect_can_be_given_a_time_limit_from_outside(
    url: str, server_socket: Path
) -> None:
    # Called directly: aiopg's own awaitable is what `wait_for` does not take well.
    dialled = connect(url, limits=LIMITS, connect_timeout_s=60)
    connection = await asyncio.wait_for(dialled, 10)
    connection.close()
    async with FaultProxy(server_socket) as silent:
        silent.blackhole()
        descriptors = _open_descriptors()
        lost = connect(_over(silent), limits=LIMITS, connect_timeout_s=60)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lost, 0.1)
        silent.cut()
        async with asyncio.timeout(5):
            while silent.open_connections:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
        assert descriptors == _open_descriptors()


async def test_all_reasons_are_told_and_no_password(server_socket: Path) -> None:
    async with (
        asyncio.timeout(30),
        FaultProxy(server_socket) as refusing,
        FaultProxy(server_socket) as silent,
    ):
        await refusing.refuse()
        silent.blackhole()
        hosts = f"127.0.0.1:{refusing.port},127.0.0.1:{silent.port}"
        with pytest.raises(StoreUnavailable) as caught:
            await _connect(f"postgresql://app:s3cret@{hosts}/faults", connect_timeout_s=0.2)
    message = str(caught.value)
    assert f"127.0.0.1:{silent.port}: no answer within 0.2 s" in message
    assert f"127.0.0.1:{refusing.port}" in message
    assert "refused" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    "url", ["postgresql://app:s3cret@[::1/x", "postgresql://app:s3cret@a,b/x?port=1,2,3"]
)
async def test_an_unreadable_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="database URL") as caught:
        await _connect(url)
    assert "s3cret" not in str(caught.value)
