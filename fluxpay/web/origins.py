"""Where the answer to each effect comes from: a table of a store, or this process's memory.

Metrics and spans tell it. Must not know who asks, nor how.
"""

from dataclasses import dataclass
from typing import Any, Final

from fluxpay.core import effects
from fluxpay.core.effects import Effect
from fluxpay.stores.peers import Peer


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where an answer came from.

    Args:
        peer: None for this process's memory.
        collection: The table that is read or written first; empty where there is none.
    """

    peer: Peer | None
    collection: str = ""


MEMORY: Final = Origin(None)

# The last one hands a reply over and waits for nothing.
FROM_MEMORY: Final[frozenset[type[Effect[Any]]]] = frozenset(
    {effects.CountRequestLocally, effects.CountVelocityLocally, effects.RememberReply}
)
FROM_REDIS: Final[frozenset[type[Effect[Any]]]] = frozenset(
    {effects.CountRequest, effects.CountVelocity, effects.ReadReply}
)
TABLES: Final[dict[type[Effect[Any]], str]] = {
    effects.FindApiKey: "api_keys",
    effects.FindRecord: "idempotency_records",
    effects.RecordReply: "idempotency_records",
    effects.PostPayment: "payments",
    effects.PostBatch: "payments",
    effects.ChangePayment: "payments",
    effects.PostTransfer: "ledger_transfers",
    effects.FindTransfer: "ledger_transfers",
    effects.PutAccount: "accounts",
    effects.SetNoOverdraft: "accounts",
    effects.FindPayment: "payments",
    effects.ListPayments: "payments",
    effects.ListPaymentEntries: "ledger_entries",
    effects.ListRefunds: "refunds",
    effects.FindAccount: "accounts",
    effects.ListAccounts: "accounts",
    effects.ReadTotals: "account_entries",
    effects.ReadTrialBalance: "account_entries",
    effects.ReadStatement: "account_entries",
    effects.PutTenant: "tenants",
    effects.FindTenant: "tenants",
    effects.ListTenants: "tenants",
    effects.CloseTenant: "tenants",
    effects.PutApiKey: "api_keys",
    effects.ListApiKeys: "api_keys",
    effects.RevokeApiKey: "api_keys",
}


def origins(*, postgres: Peer, redis: Peer) -> dict[type[Effect[Any]], Origin]:
    """Give the origin of every effect, where the stores are there."""
    return {
        **dict.fromkeys(FROM_MEMORY, MEMORY),
        **dict.fromkeys(FROM_REDIS, Origin(redis)),
        **{effect: Origin(postgres, table) for effect, table in TABLES.items()},
    }
