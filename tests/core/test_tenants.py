"""`register`: what writing a tenant means, every guard in its order, and the law of generations."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.tenants import (
    Environment,
    EnvironmentFixed,
    Registration,
    StaleGeneration,
    Tenant,
    TenantClosed,
    TenantSpec,
    TenantState,
    Unchanged,
    Written,
    register,
)
from tests.core.examples import NOW, TENANT_ID, tenant, tenant_spec

LATER = NOW + timedelta(days=1)
PLACED = tenant(tenant_spec(generation=5))
CLOSED = tenant(tenant_spec(generation=5), closed_at=NOW)


@pytest.mark.parametrize("generation", [1, 7])
def test_an_unknown_tenant_is_created_at_any_generation(generation: int) -> None:
    spec = tenant_spec(generation=generation)
    written = register(TENANT_ID, spec, observed=None, now=LATER)
    assert written == Written(Tenant(TENANT_ID, spec, created_at=LATER), created=True)


@pytest.mark.parametrize(
    ("observed", "spec", "decision"),
    [
        pytest.param(
            CLOSED,
            tenant_spec(generation=4, environment=Environment.LIVE),
            TenantClosed(),
            id="closed comes before stale",
        ),
        pytest.param(
            CLOSED, tenant_spec(generation=5), TenantClosed(), id="closed comes before unchanged"
        ),
        pytest.param(CLOSED, tenant_spec(generation=6), TenantClosed(), id="closed stays closed"),
        pytest.param(
            PLACED,
            tenant_spec(generation=4, environment=Environment.LIVE),
            StaleGeneration(5),
            id="stale comes before the environment",
        ),
        pytest.param(
            PLACED,
            tenant_spec(generation=5, environment=Environment.LIVE, currencies=("USD",)),
            Unchanged(PLACED),
            id="the same generation says nothing new",
        ),
        pytest.param(
            PLACED,
            tenant_spec(generation=6, environment=Environment.LIVE),
            EnvironmentFixed(),
            id="the environment is fixed",
        ),
        pytest.param(
            PLACED,
            tenant_spec(generation=6, currencies=("USD",)),
            Written(tenant(tenant_spec(generation=6, currencies=("USD",))), created=False),
            id="a newer generation is written, and the creation keeps its instant",
        ),
    ],
)
def test_the_first_guard_that_holds_decides(
    observed: Tenant, spec: TenantSpec, decision: Registration
) -> None:
    assert decision == register(TENANT_ID, spec, observed=observed, now=LATER)


@given(st.lists(st.integers(min_value=1, max_value=20), min_size=1))
def test_in_whatever_order_specs_arrive_the_newest_stays(generations: list[int]) -> None:
    observed: Tenant | None = None
    for generation in generations:
        spec = tenant_spec(generation=generation, currencies=(f"X{generation}",))
        decision = register(TENANT_ID, spec, observed=observed, now=NOW)
        if isinstance(decision, Written):
            observed = decision.tenant
    newest = max(generations)
    assert observed is not None
    assert (newest, (f"X{newest}",)) == (observed.spec.generation, observed.spec.currencies)


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (tenant(), TenantState.ACTIVE),
        (tenant(tenant_spec(state=TenantState.SUSPENDED)), TenantState.SUSPENDED),
        (tenant(closed_at=NOW), TenantState.CLOSED),
        (tenant(tenant_spec(state=TenantState.SUSPENDED), closed_at=NOW), TenantState.CLOSED),
    ],
)
def test_closing_outlasts_every_spec(one: Tenant, state: TenantState) -> None:
    assert state is one.state


def test_a_tenant_has_the_limit_of_a_currency_or_none() -> None:
    euros, yen = PaymentLimit("EUR", 1), PaymentLimit("JPY", 2)
    limited = tenant(tenant_spec(payment_limits=(euros, yen)))
    assert (euros, yen, None) == tuple(map(limited.payment_limit, ("EUR", "JPY", "USD")))
