"""`register_key`: what registering a key means, every guard in its order of precedence."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fluxpay.core.ids import IdKind, encode
from fluxpay.core.keys import (
    ApiKey,
    KeyConflict,
    KeyOutcome,
    KeyUnchanged,
    KeyWritten,
    Scope,
    register_key,
)
from fluxpay.core.tenants import NoSuchTenant, Tenant, TenantClosed, TenantState
from tests.core.examples import KEY_ID, NOW, TENANT_ID, api_key, tenant, tenant_spec

KEY = api_key()
OWN = (TENANT_ID, KEY_ID)
ANOTHER_KEY = (TENANT_ID, encode(IdKind.KEY, 1))
ANOTHER_TENANT = (encode(IdKind.TENANT, 1), KEY_ID)
REVOKED = replace(KEY, revoked_at=NOW)
REDIGESTED = replace(KEY, digest="0" * 64)
RENAMED = replace(KEY, name="second till", scopes=frozenset({Scope.PAYMENTS_READ}))
MADE_LATER = replace(KEY, created_at=NOW + timedelta(days=1))

TAKEN = KeyConflict("Another key has this digest.")
GONE = KeyConflict("This key id was revoked and stays so.")
REUSED = KeyConflict("This key id is registered with another digest.")


@pytest.mark.parametrize(
    ("whose", "observed", "digest_holder", "outcome"),
    [
        pytest.param(None, REVOKED, ANOTHER_KEY, NoSuchTenant(), id="no tenant"),
        pytest.param(
            tenant(closed_at=NOW), REVOKED, ANOTHER_KEY, TenantClosed(), id="a closed tenant"
        ),
        pytest.param(tenant(), REVOKED, ANOTHER_KEY, TAKEN, id="another key's digest"),
        pytest.param(tenant(), None, ANOTHER_TENANT, TAKEN, id="another tenant's digest"),
        pytest.param(tenant(), None, None, KeyWritten(KEY, created=True), id="a new key"),
        pytest.param(
            tenant(tenant_spec(state=TenantState.SUSPENDED)),
            None,
            None,
            KeyWritten(KEY, created=True),
            id="a suspended tenant takes keys",
        ),
        pytest.param(tenant(), replace(REDIGESTED, revoked_at=NOW), None, GONE, id="a revoked id"),
        pytest.param(tenant(), REVOKED, OWN, GONE, id="a revoked key again"),
        pytest.param(tenant(), REDIGESTED, None, REUSED, id="an id with another digest"),
        pytest.param(tenant(), KEY, OWN, KeyUnchanged(KEY), id="just so already"),
        pytest.param(
            tenant(),
            MADE_LATER,
            OWN,
            KeyUnchanged(MADE_LATER),
            id="the instant of its creation is no difference",
        ),
        pytest.param(
            tenant(), RENAMED, OWN, KeyWritten(KEY, created=False), id="another name and scope"
        ),
        pytest.param(
            tenant(),
            replace(RENAMED, created_at=MADE_LATER.created_at),
            OWN,
            KeyWritten(MADE_LATER, created=False),
            id="a change keeps the instant of creation",
        ),
    ],
)
def test_the_first_guard_that_holds_decides(
    whose: Tenant | None,
    observed: ApiKey | None,
    digest_holder: tuple[str, str] | None,
    outcome: KeyOutcome,
) -> None:
    assert outcome == register_key(
        KEY, tenant=whose, observed=observed, digest_holder=digest_holder
    )
