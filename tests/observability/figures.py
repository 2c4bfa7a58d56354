"""Numbers as people read them, by Grafana's names of units, and axes with round steps. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

_TIMES: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"))
_BYTES: Final = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_AFTER: Final = {"reqps": " req/s", "ops": " ops/s", "x": " x", "short": ""}
_STEPS: Final = (1.0, 2.0, 5.0, 10.0)


def written(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit == "percentunit":
        return f"{_short(value * 100)} %"
    if unit == "s":
        return _scaled(value, _TIMES)
    if unit == "bytes":
        return _scaled(value, _BYTES)
    return f"{_short(value)}{_AFTER[unit]}"


def ticks(least: float, most: float, *, unit: str, count: int = 3) -> list[float]:
    """Round values from at most the least to at least the most."""
    if unit == "bytes":
        size = next((size for size, _ in _BYTES if most >= size), 1.0)
        return [one * size for one in ticks(least / size, most / size, unit="short", count=count)]
    span = (most - least) or 1.0
    rough = span / count
    power = 10 ** math.floor(math.log10(rough))
    step = next(one * power for one in _STEPS if one * power >= rough * 0.999)
    first, last = math.floor(least / step + 1e-9), math.ceil(most / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def _scaled(value: float, scales: Sequence[tuple[float, str]]) -> str:
    for size, name in scales:
        if abs(value) >= size * 0.9995:
            return f"{_short(value / size)} {name}"
    return f"{_short(value / scales[-1][0])} {scales[-1][1]}" if value else f"0 {scales[-1][1]}"


def _short(value: float) -> str:
    if value == 0 or abs(value) < 0.0005:
        return "0"
    if abs(value) >= 10_000:
        return f"{value / 1000:,.0f} k"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{min(digits, 3)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
