"""Replies that were given, kept in Redis for replays: idempotency, layer 1.

It answers a repeated request without asking Postgres, and it is never the truth: a reply that is
lost, unreadable or late costs a look-up and nothing else. The key holds the database's identity
and timeline, so that after a failover or a restore no reply tells of a payment that is gone.

Must not know how a claim is settled, nor where the database's identity comes from.
"""

import hashlib
from collections.abc import Callable
from typing import Final, Literal

import msgspec
from redis.exceptions import RedisError

from fluxpay.core.effects import Unavailable
from fluxpay.core.idempotency import Claim, StoredReply
from fluxpay.stores.redis_pipeline import RedisUnavailable, TurnPipeline

UNAVAILABLE: Final = Unavailable("redis")


class _Kept(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A reply as it is written down. Another form gets another version, and is a miss to this."""

    version: Literal[1]
    fingerprint: str
    status: int
    body: bytes
    location: str | None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(_Kept)


class ReplyCache:
    """Answers ReadReply and RememberReply.

    Args:
        ttl_s: How long a reply is kept.
        generation: Names the database whose replies these are, at this moment.
    """

    def __init__(
        self, pipeline: TurnPipeline, *, ttl_s: int, generation: Callable[[], str]
    ) -> None:
        self._pipeline = pipeline
        self._ttl_s = ttl_s
        self._generation = generation

    async def read(self, claim: Claim) -> StoredReply | Unavailable | None:
        """Look for the reply to this claim's key; whether it fits the claim is not asked here."""
        try:
            value = await self._pipeline.execute("GET", self._key(claim))
            kept = None if value is None else _DECODER.decode(value)
        except (RedisError, RedisUnavailable):
            return UNAVAILABLE
        except msgspec.DecodeError:
            return None
        if kept is None:
            return None
        return StoredReply(kept.fingerprint, kept.status, kept.body, kept.location)

    def remember(self, claim: Claim, reply: StoredReply) -> None:
        """Keep a reply, if Redis takes it. Nobody waits for it."""
        kept = _Kept(1, reply.fingerprint, reply.status, reply.body, reply.location)
        self._pipeline.send("SET", self._key(claim), _ENCODER.encode(kept), "EX", self._ttl_s)

    def _key(self, claim: Claim) -> str:
        # Hashed, because a client's key may hold whatever it likes: braces and colons included.
        digest = hashlib.sha256(claim.key.encode()).hexdigest()
        return f"reply:{{{claim.tenant_id}}}:{self._generation()}:{digest}"
