"""The examples that ship, and a status for some of them, as the operator writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from fluxpay_operator.status import (
    Binding,
    Condition,
    ConditionStatus,
    ConditionType,
    KeyStatus,
    Status,
)

FOLDER: Final = Path(__file__).parents[2] / "deploy/examples"
NAMES: Final = ("adopt", "live-full", "minimal", "rotation-now", "suspended")
SINCE: Final = "2026-11-28T13:15:04Z"


def example(name: str) -> dict[str, Any]:
    """The manifest in one of the files."""
    read: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return read


def bookshop() -> Status:
    """Both keys issued, one of them rotating by itself."""
    return Status(
        observed_generation=1,
        tenant_id="ten_01m8h0c7n4ee5s1r1v4c0dmc2h",
        binding=Binding(name="bookshop-fluxpay-backend"),
        keys_ready="2/2",
        next_rotation="2026-12-28T13:15:04Z",
        conditions=ready("Ready", "The tenant can pay.", keys="All 2 keys lie in their Secrets."),
        keys=(
            KeyStatus(
                name="backend",
                id="key_01m8h0c7qpeey8m3txsq4w0c8f",
                prefix="fp_live_01m8h0c7qpeey8m3txsq4w0c8f",
                secret_name="bookshop-fluxpay-backend",
                issued_at=SINCE,
                expires_at="2027-02-26T13:15:04Z",
                rotates_at="2026-12-28T13:15:04Z",
            ),
            KeyStatus(
                name="bookkeeping",
                id="key_01m8h0c7r8ec9t0aj3b8d8wm6x",
                prefix="fp_live_01m8h0c7r8ec9t0aj3b8d8wm6x",
                secret_name="bookshop-fluxpay-bookkeeping",
                issued_at=SINCE,
                expires_at="2027-11-28T13:15:04Z",
            ),
        ),
    )


def market_stall() -> Status:
    """A tenant that is suspended, as asked for."""
    return Status(
        observed_generation=1,
        tenant_id="ten_01m8h0fnzjffy9sj2gtrkk2b1d",
        binding=Binding(name="market-stall-till"),
        keys_ready="1/1",
        conditions=ready(
            "Suspended",
            "As asked for, every request of the tenant is refused.",
            keys="The key lies in its Secret.",
        ),
    )


def ready(reason: str, message: str, *, keys: str) -> tuple[Condition, ...]:
    """The conditions of a tenant with which all is well."""
    yes, no = ConditionStatus.TRUE, ConditionStatus.FALSE
    said = (
        (ConditionType.READY, yes, reason, message),
        (ConditionType.KEYS_ISSUED, yes, "Issued", keys),
        (ConditionType.QUOTA_APPLIED, yes, "Applied", "State, currencies and limits are in force."),
        (ConditionType.DEGRADED, no, "AsExpected", "Nothing is wrong."),
        (ConditionType.RECONCILING, no, "UpToDate", "Nothing is left to do."),
        (ConditionType.STALLED, no, "UpToDate", "Nothing is in the way."),
    )
    return tuple(
        Condition(
            type=kind,
            status=status,
            reason=why,
            message=words,
            observed_generation=1,
            last_transition_time=SINCE,
        )
        for kind, status, why, words in said
    )
