"""Random lives of payments over HTTP on the real service, beside a model in plain Python.

A life is a sequence of payments, captures, voids, refunds, transfers, batches, repetitions and
commands that are not possible, while the ledger is sealed and authorizations expire at random
moments. After each step, and for every instant of the past, what the service tells is what the
model says; in the end `fluxpay verify` finds nothing.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.conftest import Database
from tests.e2e.ledgers import fluxpay
from tests.e2e.lifecycle_checks import Comparison, instant
from tests.e2e.lifecycle_model import Account, BooksModel, PaymentModel, Refusal
from tests.e2e.lifecycle_service import World, world_of
from tests.e2e.tills import Answer, Till, opened

LIVES: Final = 16
AMOUNT_MAX: Final = 2**53 - 1
# Two digits after the point, none, and three; and one that the tenant does not take.
CURRENCIES: Final = ["EUR", "JPY", "KWD"]
NOT_TAKEN: Final = "USD"
PATHS: Final = {"capture": "capture", "void": "void", "refund": "refunds"}

# The largest amount there is comes now and then: a sum of several needs more than a bigint's room.
AMOUNTS: Final = st.integers(1, 1000).map(lambda drawn: AMOUNT_MAX if drawn > 980 else drawn)
PARTS: Final = st.none() | st.integers(1, 700)
CAPTURES: Final = st.sampled_from(["manual", "manual", "automatic"])
PICKS: Final = st.integers(0, 1000)
ITEMS: Final = st.lists(
    st.tuples(
        st.sampled_from(["new", "new", "new", "not taken", "again", "stolen"]),
        AMOUNTS,
        st.sampled_from(CURRENCIES),
        CAPTURES,
        PICKS,
    ),
    min_size=1,
    max_size=4,
)


@dataclass(frozen=True, slots=True)
class Sent:
    """A request that was done, and its answer."""

    path: str
    body: object
    key: str
    answer: Answer


class Lives(RuleBasedStateMachine):
    """One tenant's life."""

    payments: Bundle[str] = Bundle("payments")

    # Hypothesis makes the machine, and hands nothing over.
    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.till: Till = opened(self.world.service, currencies=CURRENCIES)
        self.model = BooksModel()
        self.same = Comparison(self.till, self.model)
        self.sent: list[Sent] = []
        self.singles: list[Sent] = []
        self.keys = 0
        self.steps = 0

    # ---- what a client does -------------------------------------------------------------------

    @initialize(target=payments)
    def open_the_books(self) -> str:
        self._open_account("reserve", no_overdraft=True)
        return self._pay(1000, "EUR", "manual")

    @rule(target=payments, amount=AMOUNTS, currency=st.sampled_from(CURRENCIES), capture=CAPTURES)
    def pay(self, amount: int, currency: str, capture: str) -> str:
        return self._pay(amount, currency, capture)

    def _pay(self, amount: int, currency: str, capture: str) -> str:
        body = {"amount": amount, "currency": currency, "capture": capture}
        sent = self._post("/v1/payments", body)
        assert 201 == sent.answer.status, sent.answer.body
        self.singles.append(sent)
        return self._note_payment(sent.answer.document, body)

    @rule(payment_id=payments, action=st.sampled_from(sorted(PATHS)), amount=PARTS)
    def change(self, payment_id: str, action: str, amount: int | None) -> None:
        self._change(payment_id, action, amount)

    def _change(self, payment_id: str, action: str, amount: int | None) -> None:
        wanted = None if action == "void" else amount
        expected = self.model.payments[payment_id].change(action, wanted)
        body = {} if wanted is None else {"amount": wanted}
        sent = self._post(f"/v1/payments/{payment_id}/{PATHS[action]}", body)
        if isinstance(expected, Refusal):
            self._expect_refusal(expected, sent.answer)
            return
        assert (201 if action == "refund" else 200) == sent.answer.status, sent.answer.body
        booked_at = self.same.book(payment_id, expected)
        told = sent.answer.document
        if action == "refund":
            given_back = sum(move.amount for move in expected)
            assert (given_back, booked_at) == (told["amount"], instant(told["created_at"]))
        else:
            assert told == self.till.get(f"/v1/payments/{payment_id}")

    @rule(one=PICKS, other=PICKS, amount=AMOUNTS)
    def transfer(self, one: int, other: int, amount: int) -> None:
        accounts = sorted(self.same.account_ids)
        debit, credit = accounts[one % len(accounts)], accounts[other % len(accounts)]
        self._transfer(debit, credit, amount)

    @rule(pick=PICKS, more=st.integers(0, 1), no_overdraft=st.booleans())
    def take_all_out(self, pick: int, more: int, no_overdraft: bool) -> None:
        """Transfers are mostly far from what is available; this one is on the edge."""
        kinds = [account for account in sorted(self.same.account_ids) if account.kind != "platform"]
        debit = kinds[pick % len(kinds)]
        self._set_no_overdraft(debit, no_overdraft)
        amount = self.model.balance(debit)["available"] + more
        if not 1 <= amount <= AMOUNT_MAX:
            return
        self._transfer(debit, Account("platform", debit.currency), amount)

    @rule(pick=PICKS, no_overdraft=st.booleans())
    def set_no_overdraft(self, pick: int, no_overdraft: bool) -> None:
        accounts = sorted(self.same.account_ids)
        self._set_no_overdraft(accounts[pick % len(accounts)], no_overdraft)

    def _set_no_overdraft(self, account: Account, no_overdraft: bool) -> None:
        body = {"no_overdraft": no_overdraft}
        sent = self._post(f"/v1/accounts/{self.same.account_ids[account]}", body)
        assert (200, no_overdraft) == (sent.answer.status, sent.answer.document["no_overdraft"])
        self.model.no_overdraft[account] = no_overdraft

    @rule(target=payments, mode=st.sampled_from(["atomic", "independent"]), items=ITEMS)
    def batch(self, mode: str, items: list[tuple[str, int, str, str, int]]) -> Any:
        drafts = list(self._drafts(items))
        wanted = [{"idempotency_key": key, **body} for _, key, body, _ in drafts]
        sent = self._post("/v1/payments/batch", {"mode": mode, "payments": wanted})
        assert 200 == sent.answer.status, sent.answer.body
        results = sent.answer.document["results"]
        refused = [at for at, draft in enumerate(drafts) if draft[0] in {"not taken", "stolen"}]
        made = list[str]()
        for at, ((what, key, body, before), result) in enumerate(zip(drafts, results, strict=True)):
            if what == "new" and refused and mode == "atomic":
                told = result["problem"]
                assert (409, "batch_aborted") == (result["status"], told["code"])
                assert refused[0] == told["cause_index"]
            elif at in refused:
                code = "currency_not_enabled" if what == "not taken" else "idempotency_key_reused"
                assert (422, code) == (result["status"], result["problem"]["code"])
            elif before is not None:
                assert (201, before.answer.document) == (result["status"], result["payment"])
            else:
                assert 201 == result["status"], result
                made.append(self._note_payment(result["payment"], body))
                # What a request of its own would have got, byte for byte.
                alone = self.till.post("/v1/payments", body, key=key)
                assert (201, True, result["payment"]) == (
                    alone.status,
                    alone.is_replayed,
                    alone.document,
                )
                self.singles.append(Sent("/v1/payments", body, key, alone))
        if refused:
            # A refusal names its own request, so a repetition tells other bytes.
            self.sent.remove(sent)
        return multiple(*made)

    @precondition(lambda self: self.sent)
    @rule(pick=PICKS)
    def repeat(self, pick: int) -> None:
        before = self.sent[pick % len(self.sent)]
        again = self.till.post(before.path, before.body, key=before.key)
        assert (before.answer.status, before.answer.body) == (again.status, again.body)
        # A batch has no record of its own: without its cached reply its items are replayed.
        assert again.is_replayed or before.path == "/v1/payments/batch"

    @precondition(lambda self: self.sent)
    @rule(pick=PICKS)
    def steal_a_key(self, pick: int) -> None:
        before = self.sent[pick % len(self.sent)]
        if before.path == "/v1/payments/batch":
            return
        other = {"amount": 1, "currency": "EUR", "reference": "another"}
        answer = self.till.post("/v1/payments", other, key=before.key)
        self._expect_refusal(Refusal(422, "idempotency_key_reused"), answer)

    @rule(amount=AMOUNTS, action=st.sampled_from(sorted(PATHS)))
    def change_what_is_not_there(self, amount: int, action: str) -> None:
        path = f"/v1/payments/pay_{'0' * 26}/{PATHS[action]}"
        answer = self.till.post(path, {} if action == "void" else {"amount": amount})
        self._expect_refusal(Refusal(404, "not_found"), answer)

    # ---- what happens meanwhile ---------------------------------------------------------------

    @rule(at_most=st.integers(1, 20))
    def seal(self, at_most: int) -> None:
        self.world.seal(at_most)

    @rule()
    def forget_replies(self) -> None:
        self.world.forget_replies()

    @rule(payment_id=payments, action=st.none() | st.sampled_from(sorted(PATHS)))
    def let_time_pass(self, payment_id: str, action: str | None) -> None:
        """Its time is over; and a client may come before the worker does."""
        payment = self.model.payments[payment_id]
        if payment.is_open:
            self.world.let_time_pass(payment_id)
            payment.is_due = True
        if action is not None:
            self._change(payment_id, action, None)

    @precondition(lambda self: any(one.is_due for one in self.model.payments.values()))
    @rule()
    def expire(self) -> None:
        self.world.expire()
        for payment_id, payment in self.model.payments.items():
            if payment.is_open and payment.is_due:
                self.same.book(payment_id, payment.release("expired"))

    # ---- what holds after each step -----------------------------------------------------------

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        self.steps += 1
        self.same.check_now()
        self.same.check_a_part_of_the_past(self.steps)

    def teardown(self) -> None:
        # A life that failed at a step is told by that step, and not by what follows from it.
        if sys.exc_info()[0] is None:
            # Whose end was moved by hand is drift while it is open.
            self.expire()
            self.same.check_all_of_the_past()
            self.same.prove(self.world.owner_url)
            self.world.proved.append(self.till.tenant_id)
        self.till.connection.close()

    # ---- how it is done -----------------------------------------------------------------------

    def _post(self, path: str, body: object) -> Sent:
        self.keys += 1
        key = f"key-{self.keys}"
        sent = Sent(path, body, key, self.till.post(path, body, key=key))
        assert sent.answer.status < 500, sent.answer.body
        if sent.answer.status < 300:
            self.sent.append(sent)
        return sent

    def _open_account(self, kind: str, *, no_overdraft: bool) -> None:
        body = {"kind": kind, "currency": "EUR", "no_overdraft": no_overdraft}
        assert 201 == self._post("/v1/accounts", body).answer.status
        self.model.no_overdraft[Account(kind, "EUR")] = no_overdraft
        self.same.check_accounts()

    def _transfer(self, debit: Account, credit: Account, amount: int) -> None:
        expected = self.model.transfer(debit, credit, amount)
        body = {
            "debit_account_id": self.same.account_ids[debit],
            "credit_account_id": self.same.account_ids[credit],
            "amount": amount,
            "currency": debit.currency,
        }
        sent = self._post("/v1/transfers", body)
        if isinstance(expected, Refusal):
            self._expect_refusal(expected, sent.answer)
            return
        assert 201 == sent.answer.status, sent.answer.body
        told = sent.answer.document
        assert body == {name: told[name] for name in body}
        assert told == self.till.get(f"/v1/transfers/{told['id']}")
        self.model.book([expected], instant(told["created_at"]))

    def _drafts(
        self, items: list[tuple[str, int, str, str, int]]
    ) -> Iterator[tuple[str, str, dict[str, object], Sent | None]]:
        """The items of a batch: what each is, its key, its body, and what was sent before."""
        used, keys_before = set[str](), self.keys
        for what, amount, currency, capture, pick in items:
            body: dict[str, object] = {"amount": amount, "currency": currency, "capture": capture}
            before = self.singles[pick % len(self.singles)] if self.singles else None
            if what in {"again", "stolen"}:
                if before is None or before.key in used:
                    continue
                used.add(before.key)
                stolen = {"amount": 1, "currency": "EUR", "reference": "another"}
                sent = stolen if what == "stolen" else before.body
                assert isinstance(sent, dict)
                yield what, before.key, sent, before
                continue
            self.keys += 1
            taken = {"currency": NOT_TAKEN} if what == "not taken" else {}
            yield what, f"key-{self.keys}", body | taken, None
        if not used and self.keys == keys_before:
            # A batch needs an item, also where all drawn ones fell away.
            self.keys += 1
            yield "new", f"key-{self.keys}", {"amount": 1, "currency": "EUR"}, None

    def _note_payment(self, told: Any, body: dict[str, Any]) -> str:
        is_manual = body.get("capture") == "manual"
        payment = PaymentModel(body["amount"], body["currency"], is_open=is_manual)
        payment_id: str = told["id"]
        self.model.payments[payment_id] = payment
        booked_at = self.same.book(payment_id, payment.made())
        assert booked_at == instant(told["created_at"])
        return payment_id

    def _expect_refusal(self, expected: Refusal, answer: Answer) -> None:
        told = answer.document
        assert (expected.status, expected.code) == (answer.status, told["code"]), told
        assert expected.members == {name: told[name] for name in expected.members}


@pytest.fixture
def world(database: Database, redis_url: str) -> Iterator[World]:
    with world_of(database, redis_url) as world:
        yield world


# Some ten thousand requests: a busy machine needs longer than for any other test.
@pytest.mark.timeout(400)
def test_random_lives_are_as_the_model_says_and_leave_books_that_prove(
    world: World, database: Database
) -> None:
    Lives.world = world
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=LIVES,
            stateful_step_count=25,
            derandomize=False,
            print_blob=True,
            database=None,
            # Not shrunk: a failing life has few steps, and living it again and again takes minutes.
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    proved = fluxpay("verify", "--json", FLUXPAY_DATABASE_URL=database.app_url)
    assert (0, "") == (proved.returncode, proved.stderr), proved.stdout
    told = {one["tenant_id"] for one in json.loads(proved.stdout)["tenants"]}
    # Hypothesis now and then gives a life up in its midst; those are proved, and do not count.
    assert LIVES <= len(told.intersection(world.proved))
