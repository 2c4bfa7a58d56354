"""The key format and its laws, and `identify`: every guard, in its order of precedence."""

import re
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fluxpay.core.credentials import (
    SECRET_ENTROPY_BYTES,
    Credential,
    Principal,
    digest,
    identify,
    is_well_formed,
    mint,
    shown_prefix,
)
from fluxpay.core.effects import FindApiKey, Step
from fluxpay.core.ids import IdKind, encode
from fluxpay.core.keys import ApiKey, Scope
from fluxpay.core.problems import Code, Refused
from fluxpay.core.tenants import Environment, Tenant, TenantState
from tests.core.conversation import converse
from tests.core.examples import KEY_ID, NOW, TENANT_ID, TOKEN, api_key, tenant, tenant_spec

PRINTABLE = [chr(code) for code in range(33, 127)]
key_ids = st.integers(min_value=0, max_value=2**128 - 1).map(lambda uuid: encode(IdKind.KEY, uuid))
entropies = st.binary(min_size=SECRET_ENTROPY_BYTES, max_size=SECRET_ENTROPY_BYTES)
environments = st.sampled_from(list(Environment))
tokens = st.builds(mint, environments, key_ids, entropies)


@given(environment=environments, key_id=key_ids, entropy=entropies)
def test_a_minted_key_is_well_formed_and_shows_where_it_belongs(
    environment: Environment, key_id: str, entropy: bytes
) -> None:
    token = mint(environment, key_id, entropy)
    assert is_well_formed(token)
    assert token.startswith(shown_prefix(environment, key_id) + "_")
    form = rf"fp_{environment}_{key_id[4:]}_[0-9A-Za-z]{{33}}[0-9A-Za-z]{{6}}"
    assert re.fullmatch(form, token)


@given(first=entropies, second=entropies)
def test_keys_and_their_digests_are_as_different_as_their_entropy(
    first: bytes, second: bytes
) -> None:
    one, other = (mint(Environment.LIVE, KEY_ID, entropy) for entropy in (first, second))
    assert (one == other) is (first == second)
    assert (digest(one) == digest(other)) is (first == second)


@given(token=tokens, data=st.data())
def test_any_one_wrong_character_is_noticed_without_a_look_up(
    token: str, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.sampled_from(PRINTABLE))
    assume(character != token[position])
    assert not is_well_formed(token[:position] + character + token[position + 1 :])


@given(token=tokens, data=st.data())
def test_two_neighbours_in_the_wrong_order_are_noticed_without_a_look_up(
    token: str, data: st.DataObject
) -> None:
    position = data.draw(st.integers(0, len(token) - 2))
    left, right = token[position], token[position + 1]
    assume(left != right)
    assert not is_well_formed(token[:position] + right + left + token[position + 2 :])


@given(token=tokens, data=st.data())
def test_a_part_of_a_key_is_no_key(token: str, data: st.DataObject) -> None:
    assert not is_well_formed(token[: data.draw(st.integers(0, len(token) - 1))])
    assert not is_well_formed(token + data.draw(st.text(min_size=1, max_size=3)))


@pytest.mark.parametrize("size", [0, SECRET_ENTROPY_BYTES - 1, SECRET_ENTROPY_BYTES + 1])
def test_a_key_is_made_from_exactly_as_much_entropy_as_it_holds(size: int) -> None:
    with pytest.raises(ValueError, match="24 bytes of entropy"):
        mint(Environment.TEST, KEY_ID, bytes(size))


def test_the_secret_holds_at_least_190_bits() -> None:
    assert SECRET_ENTROPY_BYTES * 8 >= 190
    assert 62**33 >= 2 ** (SECRET_ENTROPY_BYTES * 8)


# ---- identify ------------------------------------------------------------------------------------

SECOND = timedelta(seconds=1)
ASK = FindApiKey(digest(TOKEN))


def identified(authorization: str | None, client_address: str = "10.1.2.3") -> Step[object]:
    return identify(
        authorization, scope=Scope.PAYMENTS_WRITE, client_address=client_address, now=NOW
    )


def told(
    key: ApiKey, whose: Tenant | None = None, client_address: str = "10.1.2.3"
) -> Principal | Refused:
    step = identified(f"Bearer {TOKEN}", client_address)
    decision = converse(step, (ASK, Credential(key, whose or tenant())))
    assert isinstance(decision, Principal | Refused)
    return decision


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}", f"Bearer{TOKEN}"],
)
def test_a_request_without_a_bearer_key_is_unauthorized_without_a_look_up(
    authorization: str | None,
) -> None:
    assert converse(identified(authorization)) == Refused(
        Code.UNAUTHORIZED, "Send the key as `Authorization: Bearer <key>`."
    )


@pytest.mark.parametrize(
    "token", [TOKEN[:-1], TOKEN + " ", " " + TOKEN, TOKEN.upper(), "x", TOKEN[:-1] + "_"]
)
def test_a_key_with_a_typo_is_unauthorized_without_a_look_up(token: str) -> None:
    assert converse(identified(f"Bearer {token}")) == Refused(
        Code.UNAUTHORIZED, "This is not a whole key: its form or its checksum is wrong."
    )


def test_an_unknown_key_is_unauthorized() -> None:
    assert converse(identified(f"Bearer {TOKEN}"), (ASK, None)) == Refused(
        Code.UNAUTHORIZED, "No such key."
    )


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_good_key_tells_who_is_calling(scheme: str) -> None:
    found = Credential(api_key(), tenant())
    assert converse(identified(f"{scheme} {TOKEN}"), (ASK, found)) == Principal(
        tenant=tenant(), key_id=KEY_ID, scopes=frozenset({Scope.PAYMENTS_WRITE})
    )


def test_a_look_up_that_fails_is_nobody_s_refusal() -> None:
    with pytest.raises(ConnectionError):
        converse(identified(f"Bearer {TOKEN}"), (ASK, ConnectionError()))


# From the strongest reason to the weakest. Each key or tenant below is at fault in its own way and
# in every weaker way as well, so a guard that moved would name another reason.
SUSPENDED = tenant_spec(state=TenantState.SUSPENDED)
OUTSIDE = ("192.0.2.0/24",)
PRECEDENCE = [
    pytest.param(
        api_key(
            revoked_at=NOW,
            not_before=NOW + SECOND,
            expires_at=NOW,
            allowed_cidrs=OUTSIDE,
            scopes=frozenset(),
        ),
        tenant(SUSPENDED),
        Refused(Code.UNAUTHORIZED, "This key was revoked."),
        id="a revoked key",
    ),
    pytest.param(
        api_key(not_before=NOW + SECOND, expires_at=NOW, allowed_cidrs=OUTSIDE, scopes=frozenset()),
        tenant(SUSPENDED, closed_at=NOW),
        Refused(Code.UNAUTHORIZED, "This key was revoked."),
        id="a closed tenant",
    ),
    pytest.param(
        api_key(not_before=NOW + SECOND, expires_at=NOW, allowed_cidrs=OUTSIDE, scopes=frozenset()),
        tenant(SUSPENDED),
        Refused(Code.UNAUTHORIZED, "This key is not valid yet."),
        id="a key of tomorrow",
    ),
    pytest.param(
        api_key(expires_at=NOW, allowed_cidrs=OUTSIDE, scopes=frozenset()),
        tenant(SUSPENDED),
        Refused(Code.UNAUTHORIZED, "This key has expired."),
        id="an expired key",
    ),
    pytest.param(
        api_key(allowed_cidrs=OUTSIDE, scopes=frozenset()),
        tenant(SUSPENDED),
        Refused(Code.ADDRESS_NOT_ALLOWED, "The address is outside the key's networks."),
        id="a foreign address",
    ),
    pytest.param(
        api_key(scopes=frozenset()),
        tenant(SUSPENDED),
        Refused(Code.TENANT_SUSPENDED, "This tenant is suspended."),
        id="a suspended tenant",
    ),
    pytest.param(
        api_key(scopes=frozenset(Scope) - {Scope.PAYMENTS_WRITE}),
        tenant(),
        Refused(
            Code.SCOPE_MISSING,
            "This needs the scope payments:write, which the key does not have.",
            members=(("scope", "payments:write"),),
        ),
        id="a missing scope",
    ),
]


@pytest.mark.parametrize(("key", "whose", "refused"), PRECEDENCE)
def test_the_strongest_reason_is_named(key: ApiKey, whose: Tenant, refused: Refused) -> None:
    assert refused == told(key, whose)


def test_a_key_is_valid_from_its_first_instant_until_just_before_its_last() -> None:
    key = api_key(not_before=NOW, expires_at=NOW + timedelta(microseconds=1))
    assert isinstance(told(key), Principal)


@pytest.mark.parametrize(
    ("address", "cidrs", "inside"),
    [
        ("10.1.2.3", (), True),
        ("", (), True),
        ("10.1.2.3", ("10.0.0.0/8",), True),
        ("10.1.2.3", ("192.0.2.0/24", "10.1.2.3/32"), True),
        ("10.1.2.3", ("10.1.2.4/32",), False),
        ("2001:db8::7", ("2001:db8::/32",), True),
        ("2001:db8::7", ("10.0.0.0/8",), False),
        ("10.1.2.3", ("::/0",), False),
        ("", ("0.0.0.0/0", "::/0"), False),
        ("a unix socket", ("0.0.0.0/0",), False),
    ],
)
def test_a_key_with_networks_works_inside_them_alone(
    address: str, cidrs: tuple[str, ...], inside: bool
) -> None:
    answer = told(api_key(allowed_cidrs=cidrs), client_address=address)
    assert inside is isinstance(answer, Principal)


def test_the_principal_is_of_the_key_s_own_tenant() -> None:
    answer = told(api_key())
    assert isinstance(answer, Principal)
    assert TENANT_ID == answer.tenant.id
