"""The scheduler: from one seed, it decides who moves next and what goes wrong.

It starts attempts, moves their steps on effect by effect, loses effects, replies and answers, kills
processes, takes Redis away, changes tenants and lets days pass while workers expire what is due;
then it heals the world and lets every client try
until answered. Nothing but the seed decides, so a seed is a run. Must not know what is right: the
invariants judge what it leaves behind.
"""

import json
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

from fluxpay.core.effects import (
    CountRequest,
    CountVelocity,
    Effect,
    PutApiKey,
    PutTenant,
    ReadReply,
    RememberReply,
    Step,
    Unavailable,
)
from fluxpay.core.ids import suffix
from fluxpay.core.tenants import TenantState
from tests.simulation.cache import Cache, Counters
from tests.simulation.chain import Answer, serve
from tests.simulation.database import KeyOfTenant
from tests.simulation.people import (
    BEGIN,
    BEGIN_MS,
    CURRENCIES,
    Client,
    make_clients,
    make_followers,
    make_members,
)
from tests.simulation.world import (
    ChangeWay,
    InMemoryWorld,
    Moves,
    Post,
    in_one_transaction,
    under_one_lock,
)

CHAOS_MOVES = 7_000
HEALING_MOVES_MAX = 40_000
PROCESSES = 3
IN_FLIGHT_MAX = 24
CROWD = 30
DUE_AT_ONCE = 3
DAY_MS = 86_400_000
BETWEEN_UUIDS = 1_000
"""One change makes several ids, which count on from its UUID."""


class WorldFault(Exception):
    """A store that did not answer: the effect may have happened, or not."""


def unanswered(effect: Effect[Any]) -> object:
    """What a step is told when its effect brings no answer: the policy's answer, or a fault."""
    match effect:
        case CountRequest() | CountVelocity() | ReadReply():
            return Unavailable("redis")
        case RememberReply():
            return None
        case _:
            return WorldFault()


@dataclass(slots=True)
class Attempt:
    """One call being served in one process.

    Args:
        moves: The pending effect while it is being performed.
        answer_is_lost: Whether the effect's answer will not arrive although it is performed.
        was_alone: Whether no other attempt under its key was served at any time meanwhile.
    """

    client: Client
    process: int
    uuid: int
    step: Step[Answer]
    pending: Effect[Any]
    moves: Moves | None = None
    answer_is_lost: bool = False
    was_alone: bool = True


class Simulation:
    """One run: `run` it, then look at what it left behind.

    Args:
        seed: Decides everything.
        post: How the world posts payments.
        change: How the world changes them.

    Attributes:
        refused_suffixes: Of the ids that the attempts that were refused would have made.
        refusals: Who heard a final refusal, in order, and whether that attempt was alone.
        seen: How often each kind of thing happened.
        history: Everything that happened, line by line.
        waiting_when_healed: How many clients still had to be answered after the trouble.
    """

    def __init__(
        self,
        seed: int,
        *,
        post: Post = in_one_transaction,
        change: ChangeWay = under_one_lock,
    ) -> None:
        self.seed = seed
        self.random = Random(seed)
        self.now_ms = BEGIN_MS
        self.world = InMemoryWorld(lambda: self.now_ms, post=post, change=change)
        self.members = make_members()
        self.clients = make_clients(self.random, self.members)
        self.attempts: dict[int, Attempt] = {}
        self.refused_suffixes: list[str] = []
        self.refusals: list[tuple[Client, bool]] = []
        self.seen: Counter[str] = Counter()
        self.history: list[str] = []
        self.waiting_when_healed = 0
        self.healed_at_ms = 0
        self._attempts_made = 0
        self._followed: set[KeyOfTenant] = set()
        self._due: list[list[KeyOfTenant]] = [[] for _ in range(PROCESSES)]
        self._generation = 1
        self._snapshot = Cache()
        self._is_healed = False
        for member in self.members:
            self.world.answer(PutTenant(member.tenant_id, member.spec, BEGIN))
            self.world.answer(PutApiKey(member.key))

    def run(self) -> None:
        """Trouble first, then peace until every client has its answer, or too long."""
        for _ in range(CHAOS_MOVES):
            self._move()
        self.waiting_when_healed = sum(not client.is_done for client in self.clients)
        self._heal()
        for _ in range(HEALING_MOVES_MAX):
            if self._is_at_rest():
                return
            self._move()

    def _is_at_rest(self) -> bool:
        is_answered = not self.attempts and all(client.is_done for client in self.clients)
        return is_answered and not self.world.database.due(now=self.now(), at_most=1)

    # ---- one move ----------------------------------------------------------------------------

    def _move(self) -> None:
        self.now_ms += self.random.choice((0, 0, 1, 3, 20))
        if not self._is_healed and self.random.random() < 0.03:
            self.random.choice(
                (
                    self._crash,
                    self._trouble_redis,
                    self._trouble_redis,
                    self._trouble_tenant,
                    self._let_days_pass,
                )
            )()
        elif self.random.random() < 0.02:
            self._expire()
        elif len(self.attempts) < IN_FLIGHT_MAX and self.random.random() < 0.25:
            self._ask()
        elif self.attempts:
            self._advance(self.random.choice(list(self.attempts)))
        else:
            self._wait()

    def _ask(self) -> None:
        waiting = [one for one in self.clients if not one.is_done]
        ready = [one for one in waiting if one.wait_until_ms <= self.now_ms]
        # Some lose patience and ask again while they are being served. The first ones in line
        # come first, so that twins and rivals meet.
        is_impatient = self._chance(0.15)
        asking = [one for one in ready if (one.attempt is not None) is is_impatient]
        if not asking:
            self._wait()
            return
        client = self.random.choice(asking[:CROWD])
        number, uuid = self._new_uuid()
        step = serve(client.call, uuid=uuid, now=self.now())
        process = self.random.randrange(PROCESSES)
        attempt = Attempt(client, process, uuid, step, pending=next(step))
        for other in self.attempts.values():
            if other.client.place == client.place:
                attempt.was_alone = other.was_alone = False
        self.attempts[number] = attempt
        client.attempt = number
        self._note("ask", f"{client.name} by attempt {number} in process {process}")

    def _wait(self) -> None:
        """Nobody can move: let the time come when someone may."""
        if not self.attempts:
            until_ms = [one.wait_until_ms for one in self.clients if not one.is_done]
            self.now_ms = max(self.now_ms, min(until_ms, default=0))

    def _advance(self, number: int) -> None:
        attempt = self.attempts[number]
        if attempt.moves is None:
            if self._chance(0.03):
                self._note("effect lost", f"{number} {type(attempt.pending).__name__}")
                self._answer(number, unanswered(attempt.pending))
                return
            attempt.moves = self.world.moves(attempt.pending)
            attempt.answer_is_lost = self._chance(0.03)
        try:
            next(attempt.moves)
        except StopIteration as end:
            attempt.moves = None
            answer: object = end.value
            if attempt.answer_is_lost:
                self._note("reply lost", f"{number} {type(attempt.pending).__name__}")
                answer = unanswered(attempt.pending)
            self._answer(number, answer)

    def _answer(self, number: int, answer: object) -> None:
        """Give the step its answer; it asks on, or it has decided, or it fell."""
        attempt = self.attempts[number]
        self.history.append(
            f"{self.now_ms} {number} {type(attempt.pending).__name__} {type(answer).__name__}"
        )
        try:
            if isinstance(answer, WorldFault):
                attempt.pending = attempt.step.throw(answer)
            else:
                attempt.pending = attempt.step.send(answer)
        except StopIteration as end:
            self._finish(number, end.value)
        except WorldFault:
            self._finish(number, None)

    def _finish(self, number: int, answer: Answer | None) -> None:
        attempt = self.attempts.pop(number)
        client = attempt.client
        if answer is not None and answer.code is not None:
            self.refused_suffixes.append(suffix(attempt.uuid))
        if client.attempt != number:
            self._note("answered nobody", f"{number}")
            return
        if self._chance(0.05):
            self._note("answer lost", f"{number}")
            answer = None
        if answer is not None:
            replay = " replayed" if answer.replayed else ""
            what = f"{client.call.wants} {answer.code or answer.status}{replay}"
            self._note(what, f"{number} {client.name}")
        client.hear(answer, now_ms=self.now_ms)
        if client.acknowledged:
            self._follow(client)
        if client.refused is not None:
            self.refusals.append((client, attempt.was_alone))

    def _follow(self, payer: Client) -> None:
        """Once an order is paid, others come to change the payment: now, or when all are served."""
        if payer.place in self._followed or payer.call.wants != "pay":
            return
        self._followed.add(payer.place)
        payment_id = json.loads(payer.acknowledged[0].body)["id"]
        followers = make_followers(self.random, self.members, payer, payment_id=payment_id)
        at = self.random.choice((0, 0, len(self.clients)))
        self.clients[at:at] = followers

    def _expire(self) -> None:
        """A worker takes the next of what it found to be due, or looks again."""
        process = self.random.randrange(PROCESSES)
        found = self._due[process]
        if not found:
            found += self.world.database.due(now=self.now(), at_most=DUE_AT_ONCE)
            return
        place, (_, uuid) = found.pop(0), self._new_uuid()
        # Others may have found it too, or somebody has voided it meanwhile.
        was_due = self.world.database.expire(place, uuid=uuid, now=self.now())
        self._note("expired" if was_due else "expired by nobody", f"{place} in {process}")

    # ---- trouble -----------------------------------------------------------------------------

    def _crash(self) -> None:
        """A process dies; each of its pending effects was performed in time, or not."""
        process = self.random.randrange(PROCESSES)
        self._note("crash", f"process {process}")
        for number in [n for n, one in self.attempts.items() if one.process == process]:
            attempt = self.attempts.pop(number)
            if attempt.moves is None and self._chance(0.5):
                # In a sound world this performs it; an unsound one is caught half way.
                next(self.world.moves(attempt.pending), None)
            if attempt.client.attempt == number:
                attempt.client.hear(None, now_ms=self.now_ms)
        self.world.local = Counters()
        self._due[process] = []

    def _let_days_pass(self) -> None:
        """Enough for authorizations to expire; who is being served was asked days ago."""
        days = self.random.randint(1, 4)
        self._note("days pass", f"{days}")
        self.now_ms += days * DAY_MS

    def _trouble_redis(self) -> None:
        trouble = self.random.choice(("down", "up", "flush", "snapshot", "restore"))
        self._note(f"redis {trouble}", "")
        match trouble:
            case "down" | "up":
                self.world.redis_is_up = trouble == "up"
            case "flush":
                self.world.cache = Cache()
            case "snapshot":
                self._snapshot = self.world.cache.snapshot()
            case _:
                self.world.cache = self._snapshot.snapshot()

    def _trouble_tenant(self) -> None:
        """The platform team changes a tenant: suspends it, or takes a currency or limits away."""
        member = self.random.choice(self.members)
        state = TenantState.SUSPENDED if self._chance(0.1) else TenantState.ACTIVE
        currencies = self.random.sample(CURRENCIES, k=self.random.choice((2, 3, 3)))
        self._put(member.tenant_id, state=state, currencies=currencies)

    def _heal(self) -> None:
        self._note("healed", "")
        self._is_healed = True
        self.healed_at_ms = self.now_ms
        self.world.redis_is_up = True
        for member in self.members:
            self._put(member.tenant_id, state=TenantState.ACTIVE, currencies=list(CURRENCIES))

    def _put(self, tenant_id: str, *, state: TenantState, currencies: list[str]) -> None:
        self._note(f"tenant {state}", f"{tenant_id} {currencies}")
        self._generation += 1
        spec = next(one.spec for one in self.members if one.tenant_id == tenant_id)
        changed = replace(
            spec, generation=self._generation, state=state, currencies=tuple(currencies)
        )
        self.world.answer(PutTenant(tenant_id, changed, self.now()))

    # ---- small things ------------------------------------------------------------------------

    def _chance(self, probability: float) -> bool:
        return not self._is_healed and self.random.random() < probability

    def _new_uuid(self) -> tuple[int, int]:
        self._attempts_made += 1
        number = self._attempts_made
        return number, self.now_ms << 80 | 7 << 76 | 2 << 62 | number * BETWEEN_UUIDS

    def now(self) -> datetime:
        """The present of the run."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    def _note(self, what: str, detail: str) -> None:
        self.seen[what] += 1
        self.history.append(f"{self.now_ms} {what}: {detail}")
