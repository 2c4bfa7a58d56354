"""Laws of TypeIDs: they read back as the UUID they were made from, and sort as it does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxpay.core.ids import IdKind, encode, is_id, is_suffix, suffix

uuids = st.integers(min_value=0, max_value=2**128 - 1)
kinds = st.sampled_from(list(IdKind))
CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def decode(text: str) -> int:
    """Read a suffix digit by digit, as the specification says, with none of the tested code."""
    value = 0
    for character in text:
        value = value * 32 + CROCKFORD.index(character)
    return value


@given(uuids)
def test_a_suffix_reads_back_as_its_uuid(value: int) -> None:
    assert value == decode(suffix(value))
    assert len(suffix(value)) == 26


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "00000000000000000000000000"),
        (1, "00000000000000000000000001"),
        (32, "00000000000000000000000010"),
        (0x0110C8531D0952D8D73E1194E95B5F19, "0123456789abcdefghjkmnpqrs"),
        (0x01890A5DAC96774BBCCEB302099A8057, "01h455vb4pex5vsknk084sn02q"),
        (2**128 - 1, "7zzzzzzzzzzzzzzzzzzzzzzzzz"),
    ],
)
def test_the_examples_of_the_specification_hold(value: int, text: str) -> None:
    assert text == suffix(value)


@given(st.lists(uuids, max_size=20))
def test_ids_sort_as_their_uuids_do(values: list[int]) -> None:
    assert [suffix(value) for value in sorted(values)] == sorted(map(suffix, values))


@pytest.mark.parametrize("value", [-1, 2**128])
def test_what_is_no_uuid_has_no_suffix(value: int) -> None:
    with pytest.raises(ValueError, match="128 bits"):
        suffix(value)


@given(kind=kinds, other=kinds, value=uuids)
def test_an_id_is_of_its_own_kind_alone(kind: IdKind, other: IdKind, value: int) -> None:
    assert is_id(other, encode(kind, value)) is (kind is other)


@given(value=uuids)
def test_every_suffix_is_one(value: int) -> None:
    assert is_suffix(suffix(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pay",
        "pay_",
        "01h455vb4pex5vsknk084sn02q",
        "pay-01h455vb4pex5vsknk084sn02q",
        "pay_01h455vb4pex5vsknk084sn02",
        "pay_01h455vb4pex5vsknk084sn02qq",
        "pay_01H455VB4PEX5VSKNK084SN02Q",
        "pay_01h455vb4pex5vsknk084sn02l",
        "pay_81h455vb4pex5vsknk084sn02q",
        "pay_01h455vb4pex5vsknk084sn02q\n",
        "pay_ 01h455vb4pex5vsknk084sn02q",
        "pay_pay_01h455vb4pex5vsknk084sn02q",
        "pay_\uff101h455vb4pex5vsknk084sn02q",
    ],
)
def test_a_text_that_is_no_id_is_told_apart(text: str) -> None:
    assert not is_id(IdKind.PAYMENT, text)
    assert not is_suffix(text.partition("_")[2])


def test_no_two_kinds_share_a_prefix() -> None:
    assert sorted({str(kind) for kind in IdKind}) == sorted(str(kind) for kind in IdKind)
    assert [] == [kind for kind in IdKind if "_" in kind]
