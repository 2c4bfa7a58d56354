"""JSON as RFC 8259 means it, and nothing that merely resembles it.

Two programs that read one body must read the same thing, so whatever is read differently in
different places is refused: names given twice, NaN and Infinity, numbers beyond a double, byte
order marks, U+0000 and lone surrogates. Depth and digits have limits, and no input may end in
any exception but `MalformedJson`. Source: RFC 8259, RFC 7493 (I-JSON).

Must not know what the documents mean.
"""

import json
import re
from collections import Counter
from math import isfinite
from typing import Final, NoReturn

DEPTH_MAX: Final = 64
_SHOWN_CHARS: Final = 60
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class MalformedJson(Exception):
    """The bytes are not a JSON document; `detail` says why, in words for the client."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


def decode(raw: bytes) -> object:
    """Read one JSON document.

    Raises:
        MalformedJson: The bytes are not one, or go beyond a limit.
    """
    if not raw:
        raise MalformedJson("The body is empty.")
    if raw.startswith(_BYTE_ORDER_MARK):
        raise MalformedJson("The body begins with a byte order mark.")
    try:
        document: object = _DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise MalformedJson("The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(f"{error.msg}: line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise MalformedJson(f"It nests deeper than {DEPTH_MAX} levels.") from None
    except ValueError:
        # The interpreter converts no integer of more than 4,300 digits, since that takes
        # quadratic time.
        raise MalformedJson("A number has too many digits.") from None
    # Both can only stand in a document that has such bytes; most have not, and skip the walk.
    if b"\\u" in raw or raw.count(b"[") + raw.count(b"{") > DEPTH_MAX:
        _inspect(document)
    return document


def canonical(document: object) -> bytes:
    """Write a decoded document in the one form that does not depend on how it was sent."""
    return _ENCODER.encode(document).encode()


def _inspect(document: object) -> None:
    """Refuse excessive depth and text that Postgres cannot store, without recursion."""
    pending: list[tuple[object, int]] = [(document, 0)]
    while pending:
        value, depth = pending.pop()
        if isinstance(value, str):
            if _UNSTORABLE.search(value):
                raise MalformedJson("A text holds U+0000 or a lone surrogate.")
            continue
        if not isinstance(value, dict | list):
            continue
        if depth == DEPTH_MAX:
            raise MalformedJson(f"It nests deeper than {DEPTH_MAX} levels.")
        inner = value if isinstance(value, list) else [*value.keys(), *value.values()]
        pending.extend((one, depth + 1) for one in inner)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    counts = Counter(name for name, _ in pairs)
    twice = next(name for name, count in counts.items() if count > 1)
    raise MalformedJson(f"The name {twice[:_SHOWN_CHARS]!r} is given twice.")


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise MalformedJson("A number is too large.")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise MalformedJson(f"{name} is not a JSON value.")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
)
_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False,
    allow_nan=False,
    check_circular=False,  # What was decoded is a tree.
    sort_keys=True,
    separators=(",", ":"),
)
