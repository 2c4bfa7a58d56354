"""Every effect has an origin, and one of a store says which table."""

from typing import get_args

from fluxpay.core.effects import AnyEffect, CountRequest, FindApiKey, RememberReply
from fluxpay.stores.peers import Peer
from fluxpay.web.origins import MEMORY, origins

POSTGRES = Peer("postgresql", "db", 5432, "pay")
REDIS = Peer("redis", "cache", 6379, "0")


def test_every_effect_has_an_origin() -> None:
    found = origins(postgres=POSTGRES, redis=REDIS)
    assert set(get_args(AnyEffect)) == set(found)
    assert (POSTGRES, "api_keys") == (found[FindApiKey].peer, found[FindApiKey].collection)
    assert (REDIS, "") == (found[CountRequest].peer, found[CountRequest].collection)
    assert MEMORY is found[RememberReply]
