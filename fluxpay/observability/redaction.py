"""What may never stand in a log line, found and taken out: the second guard.

The first guard is that nothing secret is given to a logger. This one looks through every text all
the same, those of libraries above all, for what can be told by its shape: API keys, tokens, card
numbers, passwords in URLs and in `name=value` pairs, and members whose name says that they hold a
secret or a customer's words.

Knows shapes, sizes and what JSON can hold. Must not know what is logged, nor how it is written
down. Source: ISO/IEC 7812-1, annex B, for the check digit of a card number.
"""

import math
import re
from collections.abc import Mapping
from typing import Final

CUT: Final = "[redacted]"
TEXT_CHARS_MAX: Final = 4_000
_DEPTH_MAX: Final = 3
_ITEMS_MAX: Final = 50
_INTEGER_MAX: Final = 1 << 63
# Read this far and no further, since looking costs: what is cut off is not shown either.
_READ_CHARS_MAX: Final = 4 * TEXT_CHARS_MAX

_UNSAID: Final = (
    r"api[_-]?keys?|authorization|body|cookie|description|headers?|idempotency[_-]?key|metadata"
    r"|pass(?:wd|word|phrase)?|pwd|secrets?|tokens?|x-api-key"
)
_UNSAID_NAME: Final = re.compile(rf"(?:\w+[_-])?(?:{_UNSAID})", re.IGNORECASE)
_PAIR: Final = re.compile(
    r"((?:pass(?:wd|word|phrase)?|pwd|secret|token|api[_-]?key|authorization)"
    r"""["']?\s{0,3}[=:]\s{0,3})("[^"]*"?|'[^']*'?|[^\s,;&})\]]+)""",
    re.IGNORECASE,
)
_API_KEY: Final = re.compile(r"(fp_(?:live|test)_[0-9a-z]{26})_[0-9A-Za-z]+")
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE)
_WEB_TOKEN: Final = re.compile(r"\beyJ[\w-]{8,}(?:\.[\w-]*){0,2}")
_WEBHOOK_SECRET: Final = re.compile(r"\bwhsec_[\w+/=-]+")
_BLANKS: Final = re.compile(r"(\s+)")
_DIGITS: Final = re.compile(r"(?<!\d)\d(?:[ ._-]?\d){12,}(?!\d)", re.ASCII)
_CARD_LENGTHS: Final = range(19, 12, -1)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
# Ids that machines make: one in some thousands has digits that could be a card's.
_MACHINE_ID: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Plain = str | int | float | bool | list["Plain"] | dict[str, "Plain"] | None


def plain(value: object, depth: int = 0) -> Plain:
    """Give a value as JSON can hold it, bounded, and without what may not be shown."""
    if isinstance(value, str):
        return redacted(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth == _DEPTH_MAX:
        return "[too deep]"
    if isinstance(value, Mapping):
        return _members(value, depth + 1)
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one, depth + 1) for one, _ in zip(value, range(_ITEMS_MAX), strict=False)]
    return redacted(str(value))


def redacted(text: str, *, chars_max: int = TEXT_CHARS_MAX) -> str:
    """Give a text without what can be told to be a secret or a card number, and bounded."""
    if len(text) > _READ_CHARS_MAX:
        text = text[:_READ_CHARS_MAX]
    if "fp_" in text:
        text = _API_KEY.sub(rf"\1_{CUT}", text)
    if "://" in text:
        text = "".join(map(_without_password, _BLANKS.split(text)))
    if "eyJ" in text:
        text = _WEB_TOKEN.sub(CUT, text)
    if "whsec_" in text:
        text = _WEBHOOK_SECRET.sub(CUT, text)
    text = _BEARER.sub(rf"\1 {CUT}", text)
    if "=" in text or ":" in text:
        text = _PAIR.sub(rf"\1{CUT}", text)
    if _MACHINE_ID.fullmatch(text) is None:
        text = _DIGITS.sub(_without_cards, text)
    return text if len(text) <= chars_max else f"{text[:chars_max]}[cut]"


def is_unsaid(name: str) -> bool:
    """Tell whether a member's name says that its value is a secret or a customer's words."""
    return _UNSAID_NAME.fullmatch(name) is not None


def _members(values: Mapping[object, object], depth: int) -> dict[str, Plain]:
    shown: dict[str, Plain] = {}
    for (key, value), _ in zip(values.items(), range(_ITEMS_MAX), strict=False):
        name = redacted(str(key), chars_max=100)
        shown[name] = CUT if is_unsaid(name) else plain(value, depth)
    return shown


def _number(value: int) -> int | str:
    if not -_INTEGER_MAX <= value < _INTEGER_MAX:
        # Readers of JSON lose the digits of a larger one, and Python refuses to write it.
        return f"an integer of {value.bit_length()} bits"
    return CUT if _is_card(str(abs(value))) else value


def _without_password(word: str) -> str:
    scheme, separator, rest = word.partition("://")
    # The last @ counts: a password that was not percent-encoded may hold others.
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{CUT}@{place}" if at and credentials else word


def _without_cards(match: re.Match[str]) -> str:
    """Take the card numbers out of digits in groups: each begins and ends with a group."""
    run = match[0]
    places = [place for place, sign in enumerate(run) if sign.isdigit()]
    kept, read, first = "", 0, 0
    while first < len(places):
        length = _card_at(run, places, first)
        if length:
            kept += run[read : places[first]] + CUT
            read = places[first + length - 1] + 1
        first += length or 1
    return kept + run[read:]


def _card_at(run: str, places: list[int], first: int) -> int:
    """Tell how many digits the card number has that begins with this one, or 0."""
    if first and places[first - 1] + 1 == places[first]:
        return 0
    for length in _CARD_LENGTHS:
        after = first + length
        if after > len(places) or (after < len(places) and places[after - 1] + 1 == places[after]):
            continue
        if _is_card("".join(run[place] for place in places[first:after])):
            return length
    return 0


def _is_card(digits: str) -> bool:
    if len(digits) not in _CARD_LENGTHS:
        return False
    # A digit that is doubled counts as the sum of its own digits.
    total = sum(map(int, digits[::-2])) + sum(map(_DOUBLED.__getitem__, map(int, digits[-2::-2])))
    return total % 10 == 0
