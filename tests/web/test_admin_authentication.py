"""Admin tokens: who is let in, and how they are rotated."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from fluxpay.core.problems import Code
from fluxpay.settings import Settings
from fluxpay.web.admin_authentication import AdminTokens
from tests.web.conftest import Launch
from tests.web.service import RawConnection, Service, request_bytes
from tests.web.test_chain import assert_problem

TENANTS = "/admin/v1/tenants"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer wrong",
        "Basic the-admin-token-of-the-tests",
        "the-admin-token-of-the-tests",
        "Bearer the-admin-token-of-the-test",
        "Bearer the-admin-token-of-the-tests-and-more",
        "Bearer \u00e9",
    ],
)
async def test_without_the_token_nothing_is_answered(
    service: Service, authorization: str | None
) -> None:
    headers = [] if authorization is None else [("Authorization", authorization)]
    async with RawConnection.to(service.admin_url) as connection:
        await connection.send(request_bytes("GET", TENANTS, headers=headers))
        assert_problem(Code.UNAUTHORIZED, await connection.answer(), instance=TENANTS)


async def test_a_tenants_key_is_no_admin_token(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.api_key}"}
    assert 401 == (await service.admin("GET", TENANTS, headers=headers)).status
    assert 200 == (await service.admin("GET", TENANTS)).status


async def test_without_any_token_configured_nobody_is_let_in(launch: Launch) -> None:
    service = await launch(tenant=False, admin_token=None)
    for authorization in ["Bearer ", "Bearer None", "Bearer the-admin-token-of-the-tests"]:
        headers = {"Authorization": authorization}
        assert 401 == (await service.admin("GET", TENANTS, headers=headers)).status


async def test_admin_bodies_have_the_limits_of_all_bodies(service: Service) -> None:
    path = f"{TENANTS}/{service.tenant_id}"
    for kind, data, code in [
        ("text/plain", b"{}", Code.UNSUPPORTED_MEDIA_TYPE),
        ("application/json", b"{", Code.MALFORMED_JSON),
        ("application/json", b" " * 65_537, Code.BODY_TOO_LARGE),
    ]:
        headers = {"Content-Type": kind}
        answer = await service.admin("PUT", path, data=data, headers=headers)
        assert_problem(code, answer, instance=path)


def tokens(settings: Settings, path: Path | None, clock: Clock) -> AdminTokens:
    return AdminTokens(replace(settings, admin_token=None, admin_token_file=path), clock=clock)


@pytest.fixture
def plain() -> Settings:
    """Settings without a store: a token needs none."""
    return Settings(database_url="", redis_url="")


def test_several_tokens_are_valid_at_once(plain: Settings, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("old\n  new\n")
    admitted = tokens(plain, path, Clock())
    assert [True, True, False, False] == [admitted.admit(one) for one in ("old", "new", "", "o")]


def test_a_changed_file_counts_after_a_second_at_most(plain: Settings, tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens", Clock()
    path.write_text("old")
    admitted = tokens(plain, path, clock)
    assert admitted.admit("old")
    # As Kubernetes does it: the new file takes the place of the old one in one move.
    fresh = tmp_path / "fresh"
    fresh.write_text("new")
    fresh.replace(path)
    clock.now_s = 0.5
    assert (True, False) == (admitted.admit("old"), admitted.admit("new"))
    clock.now_s = 1.0
    assert (False, True) == (admitted.admit("old"), admitted.admit("new"))


def test_a_file_of_the_same_size_and_time_in_its_place_is_seen(
    plain: Settings, tmp_path: Path
) -> None:
    path, clock = tmp_path / "tokens", Clock()
    path.write_text("old")
    os.utime(path, ns=(1, 1))
    admitted = tokens(plain, path, clock)
    assert admitted.admit("old")
    fresh = tmp_path / "fresh"
    fresh.write_text("new")
    os.utime(fresh, ns=(1, 1))
    fresh.replace(path)
    clock.now_s = 1.0
    assert (False, True) == (admitted.admit("old"), admitted.admit("new"))


def test_a_file_that_goes_lets_nobody_in_until_it_is_back(plain: Settings, tmp_path: Path) -> None:
    path, clock = tmp_path / "tokens", Clock()
    admitted = tokens(plain, path, clock)
    assert not admitted.admit("token")
    for content, expected in [("token", True), (None, False), ("token", True)]:
        clock.now_s += 1
        if content is None:
            path.unlink()
        else:
            path.write_text(content)
        assert expected is admitted.admit("token")


def test_the_file_is_looked_at_once_a_second(
    plain: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, clock = tmp_path / "tokens", Clock()
    looks: list[Path] = []
    path.write_text("token")
    admitted = tokens(plain, path, clock)
    monkeypatch.setattr(admitted, "_look", looks.append)
    for moment_s in (0.0, 0.1, 0.9, 1.0, 1.5, 2.0):
        clock.now_s = moment_s
        admitted.admit("token")
    assert 3 == len(looks)
