"""The redis-py client behind a `TurnPipeline`, for a server, a socket or a cluster.

Knows URLs and redis-py's settings. Its defaults suit a script and not a request: five seconds of
patience, ten retries of a command that may have been carried out, pools that raise or wait for
20 s when they are empty, a handshake on every connection. None of them is left, and what a URL
says about them is overruled; it keeps its say on credentials, database and TLS.

Must not know which commands are sent.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import ConnectionPool, RedisCluster
from redis.asyncio import Redis as RedisServer
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from fluxpay.stores.peers import Peer, redis_of

_CLUSTER: Final = "redis+cluster"
# Far more than a TurnPipeline has in flight: it is never exhausted, so nobody raises or waits.
_CONNECTIONS_MAX: Final = 64


Redis = RedisServer | RedisCluster


class UnreadableRedisUrl(ValueError):
    """The URL is none; the message does not repeat it, for it may hold a password."""


@dataclass(frozen=True, slots=True)
class RedisClient:
    """A client, and how long whoever uses it waits for a round trip.

    The client itself reads without a limit: it would arm a timer for each reply, which doubles
    what a reply costs, and a server that sends one a moment would never be given up.
    """

    redis: Redis
    timeout_s: float
    peer: Peer


def connect(url: str, *, timeout_ms: int) -> RedisClient:
    """Make a client; it connects with the first command.

    Args:
        url: `redis://`, `rediss://`, `unix://` or `redis+cluster://host:port,host:port`, a cluster
            with `?ssl=true` if it speaks TLS.
        timeout_ms: For one round trip.

    Raises:
        UnreadableRedisUrl: The URL cannot be read.
    """
    settings, timeout_s = _settings(timeout_ms), timeout_ms / 1000
    try:
        is_cluster = url.partition("://")[0] == _CLUSTER
        make = _cluster if is_cluster else _server
        return make(url, settings, timeout_s=timeout_s)
    except (TypeError, ValueError):
        # What stands behind the ? reaches redis-py as arguments, and it knows no such one.
        raise UnreadableRedisUrl("the Redis URL has parameters that cannot be read") from None


def _server(url: str, settings: dict[str, Any], *, timeout_s: float) -> RedisClient:
    options = parse_url(url)
    pool = ConnectionPool(**{**options, **settings})
    # Made and thrown away: otherwise a wrong parameter is found with the first command, and then
    # looks as if Redis were gone.
    _ = pool.connection_class(**pool.connection_kwargs)
    return RedisClient(RedisServer.from_pool(pool), timeout_s, redis_of({**options}))


def _settings(timeout_ms: int) -> dict[str, Any]:
    return {
        "socket_timeout": None,
        # The pipeline gives up after once the time, or twice when the loop was late.
        "socket_connect_timeout": 2 * timeout_ms / 1000,
        # A lost reply is not asked for again: three lost replies once turned one INCR into four.
        "retry": Retry(NoBackoff(), 0),
        "max_connections": _CONNECTIONS_MAX,
        "health_check_interval": 0,
        "decode_responses": False,
        # RESP2 without a library name needs no handshake: a new connection costs no round trip.
        "protocol": 2,
        "driver_info": None,
    }


def _cluster(url: str, settings: dict[str, Any], *, timeout_s: float) -> RedisClient:
    # Not `urlsplit`: some releases refuse an address in brackets that stands among several hosts.
    address = url.partition("://")[2]
    netloc = re.split("[/?#]", address, maxsplit=1)[0]
    credentials, separator, places = netloc.rpartition("@")
    rest = address[len(netloc) :]
    hosts = [
        parse_url(f"redis://{credentials}{separator}{place}{rest}") for place in places.split(",")
    ]
    options: dict[str, Any] = {**hosts[0], **settings}
    options["ssl"] = options.get("ssl") == "true"
    for name in ("host", "port"):
        options.pop(name, None)
    nodes = [ClusterNode(host.get("host", "localhost"), host.get("port", 6379)) for host in hosts]
    cluster = RedisCluster(startup_nodes=nodes, **options)
    return RedisClient(cluster, timeout_s, redis_of({**hosts[0]}))
