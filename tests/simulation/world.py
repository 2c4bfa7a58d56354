"""An in-memory world: it answers every effect of the core, from a database and a cache of dicts.

The same contract suite that the real stores pass holds here, so what the simulation proves about
the core is proved about a world that behaves like the real one. An effect is performed in *moves*:
a sound world takes one, hence nothing can come in between; an unsound one pauses within, and the
scheduler lets others in. Must not know who asks, nor what is lost on the way.
"""

from collections.abc import Callable, Generator
from typing import Any, TypeVar, assert_never, cast

from fluxpay.core import effects as ask
from fluxpay.core.effects import AnyEffect, Effect
from fluxpay.core.payment_creation import Posting
from tests.simulation import moving, reading
from tests.simulation.cache import Cache, Counters
from tests.simulation.database import Database

R = TypeVar("R")
RedisEffect = ask.ReadReply | ask.RememberReply | ask.CountRequest | ask.CountVelocity
WritingEffect = (
    ask.PostPayment
    | ask.PostBatch
    | ask.ChangePayment
    | ask.PutTenant
    | ask.CloseTenant
    | ask.PutApiKey
    | ask.RevokeApiKey
)
MovingEffect = ask.PostTransfer | ask.FindTransfer | ask.PutAccount | ask.SetNoOverdraft
BooksEffect = (
    ask.FindAccount | ask.ListAccounts | ask.ReadTotals | ask.ReadTrialBalance | ask.ReadStatement
)
ReadingEffect = (
    ask.FindApiKey
    | ask.FindRecord
    | ask.RecordReply
    | ask.FindPayment
    | ask.ListPayments
    | ask.ListPaymentEntries
    | ask.ListRefunds
    | ask.FindTenant
    | ask.ListTenants
    | ask.ListApiKeys
)
Moves = Generator[None, None, object]
"""An effect being performed; each pause is a place where others may move."""
Post = Callable[[Database, Posting], Moves]
ChangeWay = Callable[[Database, ask.ChangePayment], Moves]


def in_one_transaction(database: Database, posting: Posting) -> Moves:
    """Post a payment as the contract demands: in one move."""
    # The empty loop makes this a generator, as the unsound ways that do pause have to be.
    yield from ()
    return database.post(posting)


def under_one_lock(database: Database, effect: ask.ChangePayment) -> Moves:
    """Change a payment as the contract demands: in one move."""
    # As above: the empty loop makes this a generator.
    yield from ()
    return database.change(effect)


class InMemoryWorld:
    """The world, with a durable half and one that may be lost.

    Args:
        now_ms: The world's clock, in milliseconds since 1970.
        post: How a payment is posted; another way than in one transaction is unsound.
        change: How a payment is changed; another way than under one lock is unsound.
    """

    def __init__(
        self,
        now_ms: Callable[[], int],
        *,
        post: Post = in_one_transaction,
        change: ChangeWay = under_one_lock,
    ) -> None:
        self.database = Database()
        self.cache = Cache()
        self.local = Counters()
        self.redis_is_up = True
        self._now_ms = now_ms
        self._post = post
        self._change = change

    async def perform(self, effect: Effect[R]) -> R:
        """Answer an effect at once, as a shell asks for it."""
        return cast("R", self.answer(cast("AnyEffect", effect)))

    def moves(self, effect: Effect[Any]) -> Moves:
        """Perform an effect: in one move, unless payments are written in an unsound way."""
        if isinstance(effect, ask.PostPayment):
            return (yield from self._post(self.database, effect.posting))
        if isinstance(effect, ask.ChangePayment):
            return (yield from self._change(self.database, effect))
        return self.answer(cast("AnyEffect", effect))

    def answer(self, effect: AnyEffect) -> object:
        """Answer an effect; no answer depends on who asks."""
        match effect:
            case ask.ReadReply() | ask.RememberReply() | ask.CountRequest() | ask.CountVelocity():
                return self._ask_redis(effect)
            case ask.CountRequestLocally(tenant_id, quotas):
                return self.local.count_request(tenant_id, quotas, now_ms=self._now_ms())
            case ask.CountVelocityLocally(tenant_id, money, limit):
                now_ms = self._now_ms()
                return self.local.count_velocity(tenant_id, money, limit, now_ms=now_ms)
            case ask.PostTransfer() | ask.FindTransfer() | ask.PutAccount() | ask.SetNoOverdraft():
                return self._move(effect)
            case (
                ask.FindAccount()
                | ask.ListAccounts()
                | ask.ReadTotals()
                | ask.ReadTrialBalance()
                | ask.ReadStatement()
            ):
                return self._read_books(effect)
            case (
                ask.PostPayment()
                | ask.PostBatch()
                | ask.ChangePayment()
                | ask.PutTenant()
                | ask.CloseTenant()
                | ask.PutApiKey()
                | ask.RevokeApiKey()
            ):
                return self._write(effect)
            case _:
                return self._read(effect)

    def _ask_redis(self, effect: RedisEffect) -> object:
        if not self.redis_is_up:
            # What is only remembered has no answer that anybody waits for.
            return None if isinstance(effect, ask.RememberReply) else ask.Unavailable("redis")
        match effect:
            case ask.ReadReply(claim):
                return self.cache.read(claim)
            case ask.RememberReply(claim, reply):
                self.cache.remember(claim, reply)
                return None
            case ask.CountRequest(tenant_id, quotas):
                counters, now_ms = self.cache.counters, self._now_ms()
                return counters.count_request(tenant_id, quotas, now_ms=now_ms)
            case ask.CountVelocity(tenant_id, money, limit):
                counters, now_ms = self.cache.counters, self._now_ms()
                return counters.count_velocity(tenant_id, money, limit, now_ms=now_ms)
            case _:
                assert_never(effect)

    def _write(self, effect: WritingEffect) -> object:
        match effect:
            case ask.PostPayment(posting):
                return self.database.post(posting)
            case ask.PostBatch(postings):
                return self.database.post_together(postings)
            case ask.ChangePayment():
                return self.database.change(effect)
            case ask.PutTenant(tenant_id, spec, now):
                return self.database.put_tenant(tenant_id, spec, now=now)
            case ask.CloseTenant(tenant_id, now):
                return self.database.close_tenant(tenant_id, now=now)
            case ask.PutApiKey(key):
                return self.database.put_key(key)
            case ask.RevokeApiKey(tenant_id, key_id, now):
                return self.database.revoke_key(tenant_id, key_id, now=now)
            case _:
                assert_never(effect)

    def _move(self, effect: MovingEffect) -> object:
        match effect:
            case ask.PostTransfer():
                return moving.post(self.database, effect)
            case ask.FindTransfer():
                return moving.find(self.database, effect)
            case ask.PutAccount():
                return moving.put_account(self.database, effect)
            case ask.SetNoOverdraft():
                return moving.set_no_overdraft(self.database, effect)
            case _:
                assert_never(effect)

    def _read_books(self, effect: BooksEffect) -> object:
        match effect:
            case ask.FindAccount():
                return reading.find_account(self.database, effect)
            case ask.ListAccounts():
                return reading.list_accounts(self.database, effect)
            case ask.ReadTotals():
                return reading.totals(self.database, effect)
            case ask.ReadTrialBalance():
                return reading.trial_balance(self.database, effect)
            case ask.ReadStatement():
                return reading.statement(self.database, effect)
            case _:
                assert_never(effect)

    def _read(self, effect: ReadingEffect) -> object:
        match effect:
            case ask.FindApiKey(digest):
                return self.database.find_key(digest)
            case ask.FindRecord(claim):
                return self.database.find_record(claim)
            case ask.RecordReply(claim, reply):
                return self.database.records.setdefault((claim.tenant_id, claim.key), reply)
            case ask.FindPayment(tenant_id, payment_id):
                return self.database.payments.get((tenant_id, payment_id))
            case ask.ListPayments():
                return self.database.list_payments(effect)
            case ask.ListPaymentEntries(tenant_id, payment_id):
                return self.database.list_entries(tenant_id, payment_id)
            case ask.ListRefunds(tenant_id, payment_id):
                return self.database.list_refunds(tenant_id, payment_id)
            case ask.FindTenant(tenant_id):
                return self.database.tenants.get(tenant_id)
            case ask.ListTenants(after, limit):
                return self.database.list_tenants(after=after, limit=limit)
            case ask.ListApiKeys(tenant_id):
                return self.database.list_keys(tenant_id)
            case _:
                assert_never(effect)
