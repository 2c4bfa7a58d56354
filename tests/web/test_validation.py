"""Validation: every fault at once, by its pointer, in words for a person."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from fluxpay.core.keys import Scope
from fluxpay.core.money import AMOUNT_MINOR_MAX
from fluxpay.core.payments import CaptureMode, Status
from fluxpay.core.problems import Code, FieldError, Refused
from fluxpay.web.admin_bodies import KeyBody, NewKeyBody, PageQuery, TenantBody
from fluxpay.web.bodies import Currency, PaymentBody, PaymentQuery
from fluxpay.web.validation import ERRORS_MAX, parse, parse_query

PAYMENT: dict[str, Any] = {"amount": 1250, "currency": "EUR"}
TENANT: dict[str, Any] = {
    "generation": 1,
    "display_name": "Acme",
    "environment": "test",
    "state": "active",
    "currencies": ["EUR", "JPY"],
}
QUOTA: dict[str, Any] = {"name": "default", "requests": 100, "window_s": 60}
KEY: dict[str, Any] = {
    "name": "shop",
    "prefix": "fp_test_01h455vb4pex5vsknk084sn02q",
    "sha256": "ab" * 32,
    "scopes": ["payments:read"],
}
AMOUNT = f"Must be a whole number from 1 to {AMOUNT_MINOR_MAX}."
CURRENCY = "Must be the code of a currency (ISO 4217, three capitals), such as EUR."
INSTANT = "Must be an instant with its zone (RFC 3339), such as 2026-01-31T12:00:00Z."
NETWORK = "Must be an IP network in CIDR notation, host bits zero, such as 10.0.0.0/8."


def faults(document: object, model: type[msgspec.Struct]) -> list[tuple[str, str]]:
    parsed = parse(document, model)
    if not isinstance(parsed, Refused):
        return []
    assert parsed.code == Code.VALIDATION_FAILED
    return [(error.pointer, error.detail) for error in parsed.errors]


def test_a_payment_with_all_fields_is_read_as_it_was_sent() -> None:
    document = PAYMENT | {
        "capture": "automatic",
        "description": "Two tickets",
        "reference": "order-1",
        "metadata": {"cart": "c-77"},
    }
    expected = PaymentBody(
        amount=1250,
        currency=Currency("EUR"),
        capture=CaptureMode.AUTOMATIC,
        description="Two tickets",
        reference="order-1",
        metadata={"cart": "c-77"},
    )
    assert expected == parse(document, PaymentBody)


def test_optional_fields_may_be_null() -> None:
    nulls = dict.fromkeys(("capture", "description", "reference", "metadata"))
    expected = PaymentBody(amount=1250, currency=Currency("EUR"), capture=None)
    assert expected == parse(PAYMENT | nulls, PaymentBody)


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 1},
        {"amount": AMOUNT_MINOR_MAX},
        {"description": ""},
        {"description": "x" * 1000},
        {"reference": "x" * 255},
        {"metadata": {}},
        {"metadata": {"x" * 40: "y" * 500}},
        {"metadata": {str(n): "" for n in range(50)}},
    ],
)
def test_what_lies_just_inside_its_limits_is_taken(change: dict[str, object]) -> None:
    assert [] == faults(PAYMENT | change, PaymentBody)


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"amount": 0}, "#/amount", AMOUNT),
        ({"amount": -1}, "#/amount", AMOUNT),
        ({"amount": AMOUNT_MINOR_MAX + 1}, "#/amount", AMOUNT),
        ({"amount": 10**4000}, "#/amount", AMOUNT),
        ({"amount": 12.5}, "#/amount", AMOUNT),
        ({"amount": 12.0}, "#/amount", AMOUNT),
        ({"amount": "1250"}, "#/amount", AMOUNT),
        ({"amount": True}, "#/amount", AMOUNT),
        ({"amount": None}, "#/amount", AMOUNT),
        ({"currency": "eur"}, "#/currency", CURRENCY),
        ({"currency": "EUR\n"}, "#/currency", CURRENCY),
        ({"currency": "ABC"}, "#/currency", CURRENCY),
        ({"currency": "XAU"}, "#/currency", CURRENCY),
        ({"currency": 978}, "#/currency", CURRENCY),
        ({"currency": ["EUR"]}, "#/currency", CURRENCY),
        ({"capture": "later"}, "#/capture", "Must be one of automatic, manual."),
        ({"capture": {}}, "#/capture", "Must be one of automatic, manual."),
        ({"description": "x" * 1001}, "#/description", "Must be text of at most 1000 characters."),
        ({"description": 1}, "#/description", "Must be text of at most 1000 characters."),
        ({"reference": ""}, "#/reference", "Must be text of 1 to 255 characters."),
        ({"reference": "x" * 256}, "#/reference", "Must be text of 1 to 255 characters."),
        ({"metadata": []}, "#/metadata", "Must be an object."),
        ({"metadata": {"": "a"}}, "#/metadata/", "The name must be text of 1 to 40 characters."),
        ({"metadata": {"a/b~": 1}}, "#/metadata/a~1b~0", "Must be text of at most 500 characters."),
        ({"metadata": {"ü": None}}, "#/metadata/%C3%BC", "Must be text of at most 500 characters."),
        (
            {"metadata": {str(n): "" for n in range(51)}},
            "#/metadata",
            "Must be an object of at most 50 members.",
        ),
        ({"captured": True}, "#/captured", "Is not known here."),
        ({"\udc00": True}, "#/%3F", "Is not known here."),
    ],
)
def test_a_wrong_field_of_a_payment_is_named_and_explained(
    change: dict[str, object], pointer: str, detail: str
) -> None:
    assert [(pointer, detail)] == faults(PAYMENT | change, PaymentBody)


@pytest.mark.parametrize("document", [None, 1, "payment", True, [], [PAYMENT], 1.5])
def test_what_is_no_object_is_no_payment(document: object) -> None:
    assert [("#", "Must be an object.")] == faults(document, PaymentBody)


def test_all_faults_are_told_at_once() -> None:
    document = {"currency": "euro", "capture": 1, "metadata": {"a": 1, "b": "fine"}, "tip": 3}
    expected = [
        ("#/amount", "Is required."),
        ("#/currency", CURRENCY),
        ("#/capture", "Must be one of automatic, manual."),
        ("#/metadata/a", "Must be text of at most 500 characters."),
        ("#/tip", "Is not known here."),
    ]
    assert expected == faults(document, PaymentBody)


def test_the_detail_counts_the_faults() -> None:
    one, two = parse(PAYMENT | {"amount": 0}, PaymentBody), parse({}, PaymentBody)
    assert isinstance(one, Refused)
    assert isinstance(two, Refused)
    assert ("1 field is not valid.", "2 fields are not valid.") == (one.detail, two.detail)


def test_a_refusal_lists_a_bounded_number_of_faults() -> None:
    parsed = parse(PAYMENT | {f"field_{n}": n for n in range(10_000)}, PaymentBody)
    assert isinstance(parsed, Refused)
    assert ERRORS_MAX == len(parsed.errors)
    assert parsed.detail == "More than 100 fields are not valid."


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        (
            {"generation": 0},
            "#/generation",
            f"Must be a whole number from 1 to {2**53 - 1}.",
        ),
        ({"display_name": ""}, "#/display_name", "Must be text of 1 to 200 characters."),
        ({"environment": "prod"}, "#/environment", "Must be one of live, test."),
        ({"state": "closed"}, "#/state", "Must be one of active, suspended."),
        ({"currencies": []}, "#/currencies", "Must be a list of 1 to 180 items."),
        ({"currencies": "EUR"}, "#/currencies", "Must be a list of 1 to 180 items."),
        ({"currencies": ["EUR", "EURO"]}, "#/currencies/1", CURRENCY),
        ({"currencies": ["EUR", "EUR"]}, "#/currencies", "Must not hold an item twice."),
        (
            {"rate_limits": [QUOTA | {"name": "a b"}]},
            "#/rate_limits/0/name",
            "Must be 1 to 64 letters, digits, dots, hyphens or underscores.",
        ),
        (
            {"rate_limits": [QUOTA | {"name": "default\n"}]},
            "#/rate_limits/0/name",
            "Must be 1 to 64 letters, digits, dots, hyphens or underscores.",
        ),
        (
            {"rate_limits": [QUOTA, QUOTA]},
            "#/rate_limits/1/name",
            "Must differ from the names before it.",
        ),
        (
            {"rate_limits": [QUOTA | {"burst": 99}]},
            "#/rate_limits/0/burst",
            "Must not be less than requests.",
        ),
        (
            {"rate_limits": [QUOTA | {"window_s": 86_401}]},
            "#/rate_limits/0/window_s",
            "Must be a whole number from 1 to 86400.",
        ),
        (
            {"rate_limits": [QUOTA | {"name": str(n)} for n in range(33)]},
            "#/rate_limits",
            "Must be a list of at most 32 items.",
        ),
        (
            {"payment_limits": [{"currency": "USD", "max_amount": 1}]},
            "#/payment_limits/0/currency",
            "Must be one of the currencies.",
        ),
        (
            {"payment_limits": [{"currency": "EUR", "max_amount": n} for n in (1, 2)]},
            "#/payment_limits/1/currency",
            "Has a limit already.",
        ),
        (
            {"payment_limits": [{"currency": "EUR", "max_amount": 0}]},
            "#/payment_limits/0/max_amount",
            AMOUNT,
        ),
        (
            {"payment_limits": [{"currency": "EUR", "max_amount": 1, "velocity": {"count": 1}}]},
            "#/payment_limits/0/velocity/window_s",
            "Is required.",
        ),
    ],
)
def test_a_wrong_field_of_a_tenant_is_named_and_explained(
    change: dict[str, object], pointer: str, detail: str
) -> None:
    assert [(pointer, detail)] == faults(TENANT | change, TenantBody)


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        (
            {"prefix": "sk_test_abc"},
            "#/prefix",
            "Must be fp_live_ or fp_test_ and at most 26 letters or digits of the key.",
        ),
        (
            {"prefix": "fp_test_" + "a" * 27},
            "#/prefix",
            "Must be fp_live_ or fp_test_ and at most 26 letters or digits of the key.",
        ),
        ({"sha256": "ab" * 31}, "#/sha256", "Must be a SHA-256 digest, 64 hex digits."),
        ({"sha256": "zz" * 32}, "#/sha256", "Must be a SHA-256 digest, 64 hex digits."),
        ({"scopes": []}, "#/scopes", "Must be a list of 1 to 5 items."),
        (
            {"scopes": ["payments:read", "admin"]},
            "#/scopes/1",
            f"Must be one of {', '.join(Scope)}.",
        ),
        (
            {"scopes": ["payments:read", "payments:read"]},
            "#/scopes",
            "Must not hold an item twice.",
        ),
        ({"expires_at": "tomorrow"}, "#/expires_at", INSTANT),
        ({"expires_at": "2026-01-31T12:00:00"}, "#/expires_at", INSTANT),
        ({"expires_at": 1_800_000_000}, "#/expires_at", INSTANT),
        ({"expires_at": "\ud800"}, "#/expires_at", INSTANT),
        (
            {"expires_at": "9999-12-31T23:59:59-12:00"},
            "#/expires_at",
            "Must lie in the years 1970 to 9998.",
        ),
        (
            {"not_before": "2026-02-01T00:00:00Z", "expires_at": "2026-01-31T12:00:00Z"},
            "#/expires_at",
            "Must be later than not_before.",
        ),
        ({"allowed_cidrs": ["10.0.0.1/8"]}, "#/allowed_cidrs/0", NETWORK),
        ({"allowed_cidrs": ["10.0.0.0/8", "home"]}, "#/allowed_cidrs/1", NETWORK),
        ({"allowed_cidrs": ["fe80::%eth0/64"]}, "#/allowed_cidrs/0", "Must not name a zone."),
        ({"secret": "fp_test_..."}, "#/secret", "Is not known here."),
    ],
)
def test_a_wrong_field_of_a_key_is_named_and_explained(
    change: dict[str, object], pointer: str, detail: str
) -> None:
    assert [(pointer, detail)] == faults(KEY | change, KeyBody)


def test_a_query_is_read_with_its_numbers_and_instants() -> None:
    query = MultiDict(
        status="captured", currency="EUR", limit="7", created_gte="2026-01-31T12:00:00+01:00"
    )
    parsed = parse_query(query, PaymentQuery)
    assert isinstance(parsed, PaymentQuery)
    assert (Status.CAPTURED, Currency("EUR"), 7) == (parsed.status, parsed.currency, parsed.limit)
    assert parsed.created_gte is not None
    assert parsed.created_gte.isoformat() == "2026-01-31T12:00:00+01:00"


@pytest.mark.parametrize(
    ("name", "text", "detail"),
    [
        ("limit", "0", "Must be a whole number from 1 to 100."),
        ("limit", "101", "Must be a whole number from 1 to 100."),
        ("limit", "9" * 5000, "Must be a whole number from 1 to 100."),
        ("limit", "1.0", "Must be a whole number from 1 to 100."),
        ("limit", "-1", "Must be a whole number from 1 to 100."),
        ("limit", "", "Must be a whole number from 1 to 100."),
        ("limit", "٣", "Must be a whole number from 1 to 100."),
        ("currency", "eur", CURRENCY),
        (
            "status",
            "paid",
            f"Must be one of {', '.join(Status)}.",
        ),
        ("reference", "", "Must be text of 1 to 255 characters."),
        ("reference", "a\x00b", "Must not hold U+0000."),
        ("created_gte", "2026-01-31", INSTANT),
        ("created_lt", "0001-01-01T00:00:00+14:00", "Must lie in the years 1970 to 9998."),
        ("cursor", "", "Must be text of 1 to 100 characters."),
        ("sort", "amount", "Is not known here."),
    ],
)
def test_a_wrong_parameter_is_named_and_explained(name: str, text: str, detail: str) -> None:
    expected = Refused(
        Code.INVALID_PARAMETER,
        "1 parameter is not valid.",
        errors=(FieldError(f"#/{name}", detail),),
    )
    assert expected == parse_query(MultiDict({name: text}), PaymentQuery)


def test_a_parameter_given_twice_is_refused_even_with_one_value() -> None:
    query = MultiDict([("limit", "7"), ("status", "captured"), ("limit", "7")])
    parsed = parse_query(query, PaymentQuery)
    assert isinstance(parsed, Refused)
    assert (FieldError("#/limit", "Must be given once."),) == parsed.errors


MODELS = st.sampled_from([PaymentBody, TenantBody, KeyBody, NewKeyBody, PaymentQuery, PageQuery])
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    # Lone surrogates too: the decoder refuses them, and this must not rely on it.
    | st.text(st.characters(codec=None))
    | st.sampled_from(["EUR", "test", "active", "payments:read", "2026-01-31T12:00:00Z"])
)
NAMES = st.text(max_size=5) | st.sampled_from(
    sorted(
        {name for model in (PaymentBody, TenantBody, KeyBody) for name in model.__struct_fields__}
    )
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=30
)
FIELDS = PAYMENT | TENANT | KEY | {"rate_limits": [QUOTA]}


@given(document=DOCUMENTS, model=MODELS)
def test_any_document_is_read_or_refused_and_never_raises(
    document: object, model: type[msgspec.Struct]
) -> None:
    parsed = parse(document, model)
    assert isinstance(parsed, model) or (isinstance(parsed, Refused) and parsed.errors)


@given(
    valid=st.sampled_from([(PAYMENT, PaymentBody), (TENANT, TenantBody), (KEY, KeyBody)]),
    changes=st.dictionaries(st.sampled_from(sorted(FIELDS)), DOCUMENTS, max_size=2),
)
def test_the_walk_finds_a_fault_wherever_the_decoder_does(
    valid: tuple[dict[str, Any], type[msgspec.Struct]], changes: dict[str, object]
) -> None:
    document, model = valid
    parsed = parse(document | changes, model)
    # A fault of the whole document would show that the walk was more lenient than the decoder.
    errors = parsed.errors if isinstance(parsed, Refused) else ()
    assert "#" not in {error.pointer for error in errors}


@given(
    st.dictionaries(st.sampled_from(["limit", "cursor", "status", "created_gte", "x"]), st.text())
)
def test_any_query_is_read_or_refused_and_never_raises(query: dict[str, str]) -> None:
    parsed = parse_query(MultiDict(query), PaymentQuery)
    assert isinstance(parsed, PaymentQuery) or parsed.errors
