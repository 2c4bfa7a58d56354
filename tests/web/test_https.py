"""TLS, trusted proxies, and the address a request really comes from."""

import ssl
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from fluxpay.core.problems import Code
from fluxpay.settings import Settings
from fluxpay.web.forwarded import client_address, is_secure
from tests.web.certificates import write_certificate
from tests.web.conftest import Launch
from tests.web.service import RawConnection, request_bytes, started
from tests.web.test_chain import assert_problem

LOOPBACK = (ip_network("127.0.0.0/8"),)
PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for this machine, and its key."""
    return write_certificate(tmp_path_factory.mktemp("tls"))


async def test_plain_http_is_refused_on_both_ports(launch: Launch) -> None:
    service = await launch(allow_http=False, tenant=False)
    answer = await service.call("GET", "/v1/payments")
    assert_problem(Code.HTTPS_REQUIRED, answer, instance="/v1/payments")
    # It is refused before the key is looked at: a key sent in clear is not to be tried.
    assert "WWW-Authenticate" not in answer.headers
    answer = await service.admin("GET", "/admin/v1/tenants")
    assert_problem(Code.HTTPS_REQUIRED, answer, instance="/admin/v1/tenants")


async def test_probes_and_metrics_are_answered_over_plain_http(launch: Launch) -> None:
    service = await launch(allow_http=False, tenant=False)
    for path in ["/health/live", "/health/ready"]:
        assert 200 == (await service.call("GET", path)).status
        assert 200 == (await service.admin("GET", path)).status
    assert 200 == (await service.admin("GET", "/metrics")).status


@pytest.mark.parametrize(
    ("told", "status"),
    [("https", 401), ("HTTPS", 401), ("http, https", 401), ("http", 403), ("https, http", 403)],
)
async def test_a_trusted_proxy_is_believed(launch: Launch, told: str, status: int) -> None:
    service = await launch(allow_http=False, trusted_proxies=LOOPBACK, tenant=False)
    headers = {"X-Forwarded-Proto": told}
    answer = await service.call("GET", "/v1/payments", headers=headers)
    assert status == answer.status
    assert (status == 401) == ("Strict-Transport-Security" in answer.headers)


async def test_anybody_else_is_not_believed(launch: Launch) -> None:
    service = await launch(allow_http=False, trusted_proxies=PROXIES, tenant=False)
    headers = {"X-Forwarded-Proto": "https"}
    answer = await service.call("GET", "/v1/payments", headers=headers)
    assert_problem(Code.HTTPS_REQUIRED, answer, instance="/v1/payments")
    assert "Strict-Transport-Security" not in answer.headers


async def test_a_key_is_bound_to_the_address_behind_the_proxy(launch: Launch) -> None:
    service = await launch(trusted_proxies=LOOPBACK)
    bound = await service.new_key(allowed_cidrs=["203.0.113.0/24"])
    for address, status in [("203.0.113.9", 201), ("203.0.113.9, 198.51.100.1", 403)]:
        headers = {"Authorization": f"Bearer {bound}", "X-Forwarded-For": address}
        assert status == (await service.pay(**headers)).status


async def test_both_ports_speak_tls(settings: Settings, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    wanted = replace(settings, allow_http=False, tls_cert_file=cert, tls_key_file=key)
    async with started(wanted) as service:
        assert service.api_url.startswith("https://127.0.0.1:")
        tenant = await service.for_new_tenant()
        answer = await tenant.pay()
        assert 201 == answer.status
        assert "max-age=31536000; includeSubDomains" == answer.headers["Strict-Transport-Security"]
        trusting = ssl.create_default_context(cafile=str(cert))
        async with RawConnection.to(service.api_url, tls=trusting) as connection:
            await connection.send(b"GARBAGE\r\n\r\n")
            assert_problem(Code.MALFORMED_REQUEST, await connection.answer(), instance="/")
        async with RawConnection.to(service.admin_url, tls=trusting) as connection:
            await connection.send(request_bytes("GET", "/admin/v1/tenants"))
            assert 401 == (await connection.answer()).status


async def test_nothing_older_than_tls_1_2_is_spoken(
    settings: Settings, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    async with started(replace(settings, tls_cert_file=cert, tls_key_file=key)) as service:
        context = ssl.create_default_context(cafile=str(cert))
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context.minimum_version = context.maximum_version = version
            async with RawConnection.to(service.api_url, tls=context) as connection:
                await connection.send(request_bytes("GET", "/health/live"))
                assert 200 == (await connection.answer()).status
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match=r"TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with RawConnection.to(service.api_url, tls=old):
                pass


async def test_a_file_that_is_no_certificate_is_told_at_the_start(
    settings: Settings, tmp_path: Path
) -> None:
    broken = tmp_path / "cert.pem"
    broken.write_text("no certificate")
    with pytest.raises(ssl.SSLError):
        async with started(replace(settings, tls_cert_file=broken, tls_key_file=broken)):
            pass


@pytest.mark.parametrize(
    ("peer", "told", "address"),
    [
        ("198.51.100.1", [], "198.51.100.1"),
        # Not a proxy of ours: whatever it says is hearsay.
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        # The right-most that is no proxy of ours; what stands left of it anybody can write.
        ("10.0.0.1", ["192.0.2.66, 203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.66, 203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        ("10.0.0.1", ["192.0.2.66", "203.0.113.9,10.9.9.9"], "203.0.113.9"),
        ("10.0.0.1", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        ("10.0.0.1", ["203.0.113.9:4711"], "203.0.113.9"),
        ("10.0.0.1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("fd00::1", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9, unknown"], ""),
        ("10.0.0.1", [""], ""),
        ("", ["203.0.113.9"], ""),
        ("/run/proxy.sock", ["203.0.113.9"], ""),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, told: list[str], address: str
) -> None:
    headers = [("X-Forwarded-For", one) for one in told]
    request = make_mocked_request("GET", "/", headers=dict(headers[:1]))
    request = request.clone(remote=peer, headers=headers)
    assert address == client_address(request, PROXIES)
    assert not is_secure(request, PROXIES)
