"""Two ways to post a payment that look right and are not. The simulation has to catch both.

Each pauses where a real store would await twice instead of once; nothing else differs from the
sound way. Must not be used by anything but the tests of the simulation itself.
"""

from fluxpay.core.idempotency import Posted
from fluxpay.core.payments import Posting
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
