"""Strict JSON: what is refused, and that whatever is read is read as everybody else reads it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxpay.web.strict_json import DEPTH_MAX, MalformedJson, canonical, decode

TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
DOCUMENTS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
# Bytes that look enough like JSON to get deep into the decoder.
_FRAGMENTS = [
    *b'{ } [ ] , : " "a" \\u0000 \\ud800 1 - . e9 e999 NaN Infinity true null'.split(),
    *(b" ", b"\n", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u00e9".encode()),
]
NEARLY = st.lists(st.sampled_from(_FRAGMENTS), max_size=24).map(b"".join)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"", "The body is empty."),
        (b" ", "Expecting value: line 1, column 2."),
        (b"\xef\xbb\xbf{}", "The body begins with a byte order mark."),
        ("{}".encode("utf-16"), "The body is not UTF-8."),
        (b'"\xff"', "The body is not UTF-8."),
        (b'"\xed\xa0\x80"', "The body is not UTF-8."),
        (b"NaN", "NaN is not a JSON value."),
        (b"[Infinity]", "Infinity is not a JSON value."),
        (b'{"a":-Infinity}', "-Infinity is not a JSON value."),
        (b"1e999", "A number is too large."),
        (b"-1.5e400", "A number is too large."),
        (b"9" * 4_301, "A number has too many digits."),
        (b'{"a":1,"b":2,"a":3}', "The name 'a' is given twice."),
        (b'{"x":{"\\u0061":1,"a":1}}', "The name 'a' is given twice."),
        (b'{"\\udfff":1,"\\udfff":1}', "The name '\\udfff' is given twice."),
        (b'"\\u0000"', "A text holds U+0000 or a lone surrogate."),
        (b'{"\\u0000":1}', "A text holds U+0000 or a lone surrogate."),
        (b'[{"a":["\\ud800"]}]', "A text holds U+0000 or a lone surrogate."),
        (b'{"\\udc00":1}', "A text holds U+0000 or a lone surrogate."),
        (b'"\x00"', "Invalid control character at: line 1, column 2."),
        (b"[" * 30_000 + b"]" * 30_000, f"It nests deeper than {DEPTH_MAX} levels."),
        (b'{"a":' * 65 + b"1" + b"}" * 65, f"It nests deeper than {DEPTH_MAX} levels."),
        (b"[" * 40_000, f"It nests deeper than {DEPTH_MAX} levels."),
        (b"{}{}", "Extra data: line 1, column 3."),
        (b"1 2", "Extra data: line 1, column 3."),
        (b"01", "Extra data: line 1, column 2."),
        (b"[1,]", "Illegal trailing comma before end of array: line 1, column 3."),
        (b"{a:1}", "Expecting property name enclosed in double quotes: line 1, column 2."),
    ],
)
def test_what_is_not_json_is_refused_in_words(raw: bytes, detail: str) -> None:
    with pytest.raises(MalformedJson) as refused:
        decode(raw)
    # Newer interpreters name a trailing comma; older ones say what they expected instead.
    if "trailing comma" not in detail:
        assert detail == refused.value.detail


@pytest.mark.parametrize(
    ("raw", "document"),
    [
        (b"{}", {}),
        (b' [1, 2.5, "x", null, true] ', [1, 2.5, "x", None, True]),
        ('"\u00e9\U0001f600"'.encode(), "\u00e9\U0001f600"),
        (b'"\\ud83d\\ude00"', "\U0001f600"),
        (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, json.loads("[" * DEPTH_MAX + "]" * DEPTH_MAX)),
        (b"[" + b"[]," * 500 + b"1]", [*([[]] * 500), 1]),
        (b"9" * 4_300, int("9" * 4_300)),
    ],
)
def test_json_is_read(raw: bytes, document: object) -> None:
    assert document == decode(raw)


@given(DOCUMENTS)
def test_the_canonical_form_is_stable_and_means_the_same(document: object) -> None:
    written = canonical(document)
    assert document == decode(written)
    assert written == canonical(decode(written))


@given(DOCUMENTS)
def test_the_canonical_form_does_not_depend_on_how_it_was_sent(document: object) -> None:
    sent = json.dumps(document, indent=3, ensure_ascii=True).encode()
    assert canonical(document) == canonical(decode(sent))


def test_the_canonical_form_tells_apart_what_differs() -> None:
    documents = [{"a": 1}, {"a": "1"}, {"a": 1.0}, {"a": True}, {"a": None}, {"b": 1}, [1], 1]
    assert len(documents) == len({canonical(document) for document in documents})
    assert canonical({"a": 1, "b": 2}) == canonical({"b": 2, "a": 1})


@given(st.binary(max_size=64) | NEARLY)
@settings(max_examples=500)
def test_any_bytes_are_read_as_json_loads_reads_them_or_refused(raw: bytes) -> None:
    with suppress(MalformedJson):
        document = decode(raw)
        assert json.loads(raw) == document
        assert document == decode(canonical(document))


@given(st.integers(min_value=0, max_value=1_500), st.sampled_from([("[", "]"), ('{"a":', "}")]))
@settings(max_examples=60)
def test_no_depth_is_a_fault(depth: int, bracket: tuple[str, str]) -> None:
    raw = (bracket[0] * depth + "1" + bracket[1] * depth).encode()
    if depth <= DEPTH_MAX:
        assert canonical(json.loads(raw)) == canonical(decode(raw))
        return
    with pytest.raises(MalformedJson):
        decode(raw)
