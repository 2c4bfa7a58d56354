"""Transfers between a tenant's own accounts, on the database in a few dicts.

Calls the same pure rules that the real store calls. Each function is one transaction, and nothing
can come in between: that is what locks are for in Postgres.
"""

from collections.abc import Iterator, Mapping

from fluxpay.core import transfers
from fluxpay.core.books import OpenAccount, Totals
from fluxpay.core.effects import FindTransfer, PostTransfer, PutAccount, SetNoOverdraft
from fluxpay.core.idempotency import Claim, Expired, Mismatched, Replayed
from fluxpay.core.ledger import Direction, Layer, Transfer, entries
from fluxpay.core.payment_changes import Changed
from fluxpay.core.problems import Refused
from fluxpay.core.transfers import AccountChange, BookedTransfer
from tests.simulation.database import Database

Outcome = Changed | Replayed | Mismatched | Expired


def post(database: Database, effect: PostTransfer) -> Outcome | Refused:
    """Move money as the rule decides, unless the claim is taken."""
    claim = effect.claim
    taken = database.settled(claim)
    if taken is not None:
        return taken
    decided = transfers.post(
        effect.request,
        accounts=_accounts(database, claim.tenant_id),
        totals=_totals(database, claim.tenant_id),
        uuid=effect.uuid,
        now=effect.now,
    )
    if isinstance(decided, Refused):
        return decided
    database.booked[claim.tenant_id, decided.booked.transfer.id] = decided.booked
    database.events[claim.tenant_id, decided.event.id] = decided.event
    reply = decided.reply(claim)
    database.records[claim.tenant_id, claim.key] = reply
    return Changed(reply)


def find(database: Database, effect: FindTransfer) -> BookedTransfer | None:
    """A transfer of this tenant, whatever made it."""
    place = (effect.tenant_id, effect.transfer_id)
    if place in database.booked:
        return database.booked[place]
    for (tenant_id, payment_id), made in database.transfers.items():
        for one in made:
            if (tenant_id, one.id) == place:
                return BookedTransfer(one, payment_id=payment_id)
    return None


def put_account(database: Database, effect: PutAccount) -> Outcome:
    """Open an account as the rule decides, unless the claim is taken."""
    account = effect.account
    observed = _accounts(database, account.tenant_id).get(account.id)
    change = transfers.opened(account, observed, no_overdraft=effect.no_overdraft, now=effect.now)
    return _settle(database, change, effect.claim)


def set_no_overdraft(database: Database, effect: SetNoOverdraft) -> Outcome | None:
    """Write the rule of an account, unless the claim is taken or there is none."""
    observed = _accounts(database, effect.claim.tenant_id).get(effect.account_id)
    if observed is None:
        return None
    change = transfers.ruled(observed, no_overdraft=effect.no_overdraft)
    return _settle(database, change, effect.claim)


def _settle(database: Database, change: AccountChange, claim: Claim) -> Outcome:
    taken = database.settled(claim)
    if taken is not None:
        return taken
    database.accounts[claim.tenant_id, change.after.account.id] = change.after
    reply = change.reply(claim)
    database.records[claim.tenant_id, claim.key] = reply
    return Changed(reply)


def _accounts(database: Database, tenant_id: str) -> Mapping[str, OpenAccount]:
    """The tenant's accounts by id: those of its payments, then those that were opened or ruled."""
    found: dict[str, OpenAccount] = {}
    for one in _transfers(database, tenant_id):
        for account in (one.debit, one.credit):
            used = OpenAccount(account, no_overdraft=False, created_at=one.created_at)
            found.setdefault(account.id, used)
    own = {place[1]: one for place, one in database.accounts.items() if place[0] == tenant_id}
    return found | own


def _totals(database: Database, tenant_id: str) -> Mapping[str, Totals]:
    sums: dict[str, dict[tuple[Layer, Direction], int]] = {}
    for one in _transfers(database, tenant_id):
        for entry in entries(one):
            side = sums.setdefault(entry.account_id, {})
            place = (entry.layer, entry.direction)
            side[place] = side.get(place, 0) + entry.money.amount_minor
    places = [(layer, side) for layer in (Layer.POSTED, Layer.PENDING) for side in Direction]
    return {
        account_id: Totals(*(side.get(place, 0) for place in places))
        for account_id, side in sums.items()
    }


def _transfers(database: Database, tenant_id: str) -> Iterator[Transfer]:
    for (owner_id, _), made in database.transfers.items():
        if owner_id == tenant_id:
            yield from made
    for (owner_id, _), booked in database.booked.items():
        if owner_id == tenant_id:
            yield booked.transfer
