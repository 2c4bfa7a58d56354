"""The status tells of a tenant what is so, and of no Secret that is not its own."""

from datetime import UTC, datetime

import pytest

from fluxpay.core.tenants import (
    DesiredTenant,
    Environment,
    ObservedTenant,
    TenantPlan,
    TenantSpec,
    TenantState,
)
from fluxpay_operator.conditions import Standing, Trouble
from fluxpay_operator.gathering import Gathered
from fluxpay_operator.reports import Report, next_status, reported
from fluxpay_operator.status import KeyStatus, Status

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
STANDING = Standing(generation=1, has_quota=True, has_keys=False, keys_wanted=2, is_suspended=False)
PLAN = TenantPlan()
DESIRED = DesiredTenant(
    "ten_shop",
    TenantSpec(1, "Shop", Environment.TEST, TenantState.ACTIVE, ("EUR",)),
    keys=(),
    rotation_requests={},
)
GATHERED = Gathered(DESIRED, ObservedTenant(None, (), {}), minted={}, places={}, found={})
FORBIDDEN = Trouble("KubernetesRefused", "It refuses.", stalls=False)
TAKEN = Trouble("SecretConflict", "It is taken.", stalls=True)
FOREIGN = KeyStatus(name="till", secret_name="shop-till")
ISSUED = KeyStatus(name="books", id="key_1", secret_name="shop-books")
BOUND: dict[str, tuple[tuple[KeyStatus, ...], str | None]] = {
    "the first key's": ((ISSUED, FOREIGN), "shop-books"),
    "none while the first is somebody else's": ((FOREIGN, ISSUED), None),
    "none where no key is asked for": ((), None),
}


@pytest.mark.parametrize("case", BOUND)
def test_the_secret_to_bind_is_one_that_holds_a_key(case: str) -> None:
    keys, expected = BOUND[case]
    status = next_status(Report(STANDING, keys=keys), Status(), now=NOW)
    assert expected == (status.binding.name if status.binding else None)


CUT_OFF: dict[str, tuple[Trouble, bool, tuple[bool | None, bool | None]]] = {
    "Kubernetes takes no Secret": (FORBIDDEN, True, (True, None)),
    "a Secret came in between": (TAKEN, True, (True, False)),
    "FluxPay does not take the spec": (TAKEN, False, (False, None)),
    "nobody knows": (FORBIDDEN, False, (None, None)),
}


@pytest.mark.parametrize("case", CUT_OFF)
def test_a_spec_that_is_in_force_is_told_so_though_a_key_fails(case: str) -> None:
    trouble, is_put, expected = CUT_OFF[case]
    told = reported(Report(STANDING), PLAN, GATHERED, trouble, is_put=is_put).standing
    assert expected == (told.has_quota, told.has_keys)
    assert trouble is told.trouble
