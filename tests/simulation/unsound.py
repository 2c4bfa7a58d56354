"""Ways to post and change payments that look right and are not. The simulation has to catch all.

Each pauses where a real store would await twice instead of once; nothing else differs from the
sound way. Must not be used by anything but the tests of the simulation itself.
"""

from fluxpay.core.effects import ChangePayment
from fluxpay.core.idempotency import Posted
from fluxpay.core.payment_changes import Change
from fluxpay.core.payment_creation import Posting
from tests.simulation.database import Database
from tests.simulation.world import Moves


def check_then_insert(database: Database, posting: Posting) -> Moves:
    """Look for the claim, and insert in another move: two that look at once both insert."""
    if database.find_record(posting.claim) is not None:
        return database.post(posting)
    yield
    database.insert_payment(posting)
    database.insert_record(posting)
    return Posted()


def record_afterwards(database: Database, posting: Posting) -> Moves:
    """Insert the payment, and its record in another move: a crash between them parts the two."""
    if database.find_record(posting.claim) is not None:
        return database.post(posting)
    database.insert_payment(posting)
    yield
    database.insert_record(posting)
    return Posted()


def decide_then_write(database: Database, effect: ChangePayment) -> Moves:
    """Decide without a lock, and write in another move: two that decide at once both write."""
    taken = database.settled(effect.claim)
    if taken is not None:
        return taken
    decided = database.decide(effect)
    yield
    return database.write(decided, effect.claim) if isinstance(decided, Change) else decided


def look_up_then_lock(database: Database, effect: ChangePayment) -> Moves:
    """Look for the claim before the lock, and not again behind it: twins both change."""
    taken = database.settled(effect.claim)
    if taken is not None:
        return taken
    yield
    decided = database.decide(effect)
    return database.write(decided, effect.claim) if isinstance(decided, Change) else decided


def change_then_record(database: Database, effect: ChangePayment) -> Moves:
    """Write the record in another move than the change: a crash between them parts the two."""
    taken = database.settled(effect.claim)
    if taken is not None:
        return taken
    decided = database.decide(effect)
    if not isinstance(decided, Change):
        return decided
    changed = database.write(decided, effect.claim)
    del database.records[effect.claim.tenant_id, effect.claim.key]
    yield
    database.records[effect.claim.tenant_id, effect.claim.key] = changed.reply
    return changed
