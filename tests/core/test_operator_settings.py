"""The operator's settings: what is needed, what is refused, and in which words."""

from pathlib import Path

import pytest

from fluxpay.settings import BadSetting, OperatorSettings

ENOUGH = {
    "FLUXPAY_OPERATOR_ADMIN_URL": "http://fluxpay-admin.pay.svc:8081/",
    "FLUXPAY_OPERATOR_API_URL": "https://pay.example.com",
    "FLUXPAY_ADMIN_TOKEN": "one two",
}


def settings(**more: str) -> OperatorSettings:
    return OperatorSettings.from_environment({**ENOUGH, **more})


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(BadSetting) as caught:
        OperatorSettings.from_environment(environ)
    return str(caught.value)


def test_two_addresses_and_a_token_are_enough() -> None:
    found = settings()
    assert "http://fluxpay-admin.pay.svc:8081" == found.operator_admin_url
    assert () == found.operator_namespaces


def test_a_token_is_read_from_its_file_later_and_shown_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("from-a-file\n")
    environ = {**ENOUGH, "FLUXPAY_ADMIN_TOKEN_FILE": str(path)}
    del environ["FLUXPAY_ADMIN_TOKEN"]
    found = OperatorSettings.from_environment(environ)
    assert (path, None) == (found.admin_token_file, found.admin_token)
    assert "one two" not in repr(settings())


@pytest.mark.parametrize("name", sorted(ENOUGH))
def test_what_is_needed_is_named_when_it_is_missing(name: str) -> None:
    told = refusal({other: text for other, text in ENOUGH.items() if other != name})
    assert told.startswith(name)
    assert "is not set" in told


@pytest.mark.parametrize(
    "url",
    [
        "fluxpay-admin:8081",
        "ftp://fluxpay-admin",
        "http://",
        "http://user:secret@fluxpay-admin",
        "http://fluxpay-admin:99999",
        "http://fluxpay-admin/a?b=c",
        "http://fluxpay-admin/a b",
    ],
)
def test_what_is_no_address_is_refused_and_not_quoted(url: str) -> None:
    told = refusal({**ENOUGH, "FLUXPAY_OPERATOR_ADMIN_URL": url})
    assert told.startswith("FLUXPAY_OPERATOR_ADMIN_URL ")
    assert "secret" not in told


def test_namespaces_are_parted_by_commas_or_blanks() -> None:
    found = settings(FLUXPAY_OPERATOR_NAMESPACES="shops, more-shops shops")
    assert ("shops", "more-shops") == found.operator_namespaces


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("NAMESPACES", "Shops", "holds 'Shops'; write lower-case letters, digits and hyphens"),
        ("LEASE_NAMESPACE", "one two", "holds 2 names; write 1"),
        ("LEASE_NAME", "a_b", "holds 'a_b'; write lower-case letters, digits and hyphens"),
    ],
)
def test_a_name_that_kubernetes_would_not_take_is_refused(
    name: str, text: str, expected: str
) -> None:
    variable = f"FLUXPAY_OPERATOR_{name}"
    assert f"{variable} {expected}" == refusal({**ENOUGH, variable: text})
