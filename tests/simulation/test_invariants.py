"""Each invariant notices what it is there for: a sound run is tampered with, one by one."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from fluxpay.core.events import EventType
from fluxpay.core.ledger import TransferKind
from fluxpay.core.payments import Payment, Status
from tests.simulation.database import Database, KeyOfTenant
from tests.simulation.invariants import check
from tests.simulation.people import BEGIN
from tests.simulation.scheduler import Simulation
from tests.simulation.violation import Violation

Tamper = Callable[[Database], object]
SEED = 1


@cache
def finished() -> Simulation:
    """A run that is over; whoever tampers with it takes a copy."""
    simulation = Simulation(SEED)
    simulation.run()
    return simulation


def one_in(database: Database, status: Status) -> tuple[KeyOfTenant, Payment]:
    """A payment in this status."""
    return next(both for both in database.payments.items() if both[1].status is status)


def change_payment(in_status: Status, **changed: Any) -> Tamper:
    def tamper(database: Database) -> None:
        place, payment = one_in(database, in_status)
        database.payments[place] = replace(payment, **changed)

    return tamper


def change_transfer(kind: TransferKind, changed: Callable[[Any], dict[str, Any]]) -> Tamper:
    def tamper(database: Database) -> None:
        transfers, number = next(
            (transfers, number)
            for transfers in database.transfers.values()
            for number, one in enumerate(transfers)
            if one.kind is kind
        )
        transfers[number] = replace(transfers[number], **changed(transfers[number]))

    return tamper


def lose_the_last_transfer(database: Database) -> None:
    place, _ = one_in(database, Status.PARTIALLY_REFUNDED)
    database.transfers[place].pop()


def lose_a_refund(database: Database) -> None:
    place, _ = one_in(database, Status.REFUNDED)
    database.refunds[place].pop()


def double_a_refund(database: Database) -> None:
    place, _ = one_in(database, Status.REFUNDED)
    database.refunds[place].append(database.refunds[place][0])


def lose_an_event(database: Database) -> None:
    gone = next(
        place for place, one in database.events.items() if one.type is EventType.PAYMENT_VOIDED
    )
    del database.events[gone]


def lose_a_record(database: Database) -> None:
    database.records.popitem()


def lose_a_payment(database: Database) -> None:
    del database.payments[next(iter(database.payments))]


@pytest.mark.parametrize(
    ("tamper", "noticed"),
    [
        pytest.param(lose_a_payment, "is lost", id="a payment is gone"),
        pytest.param(lose_an_event, "it is lost", id="an event is gone"),
        pytest.param(lose_a_record, "recorded otherwise", id="a record is gone"),
        pytest.param(lose_a_refund, "its refund is lost", id="a refund is gone"),
        pytest.param(double_a_refund, ": 2 refunds", id="a refund is doubled"),
        pytest.param(lose_the_last_transfer, "nothing moved", id="a transfer is gone"),
        pytest.param(
            change_payment(Status.CAPTURED, amount_captured_minor=10**6),
            "captured",
            id="more is captured than was authorized",
        ),
        pytest.param(
            change_payment(Status.CAPTURED, amount_refunded_minor=10**6),
            "refunded",
            id="more is refunded than was captured",
        ),
        pytest.param(
            change_payment(Status.REFUNDED, amount_refunded_minor=0),
            "0 refunded",
            id="a refund is forgotten",
        ),
        pytest.param(
            change_payment(Status.VOIDED, expires_at=BEGIN),
            "0 pending",
            id="an authorization is opened again",
        ),
        pytest.param(
            change_payment(Status.CAPTURED, status=Status.REFUNDED),
            "Status.REFUNDED",
            id="a status is made up",
        ),
        pytest.param(
            change_transfer(TransferKind.REFUND, lambda _: {"reverses": None}),
            "reverses None",
            id="a refund names no capture",
        ),
        pytest.param(
            change_transfer(TransferKind.RELEASE, lambda one: {"reverses": one.id}),
            "reverses Transfer",
            id="a release names itself",
        ),
        pytest.param(
            change_transfer(
                TransferKind.CAPTURE, lambda one: {"debit": one.credit, "credit": one.debit}
            ),
            "not what is owed",
            id="a capture goes the wrong way",
        ),
    ],
)
def test_what_was_tampered_with_is_noticed(tamper: Tamper, noticed: str) -> None:
    simulation = deepcopy(finished())
    check(simulation)
    tamper(simulation.world.database)
    with pytest.raises(Violation, match=noticed):
        check(simulation)
