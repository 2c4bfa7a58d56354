"""The result as text: what was measured, and every ratio beside its bar. Pure."""

from collections.abc import Mapping, Sequence

from tests.bench.measures import PARTS, Seen, Verdict

_HEAD = ("", "per s", "p50 ms", "p99 ms", *(f"{part} µs" for part in PARTS), "batch", "MB")


def measured(titles: Mapping[str, str], seen: Mapping[str, Seen]) -> str:
    """A row for each variant."""
    rows = [_HEAD]
    for name, one in seen.items():
        used = [_number(one.cpu_us.get(part), 0) for part in PARTS]
        rows.append(
            (
                titles[name],
                f"{one.rate:,.0f}",
                _number(one.p50_ms, 2),
                _number(one.p99_ms, 2),
                *used,
                _number(one.batch, 1),
                _number(one.rss_mb, 0),
            )
        )
    return _aligned(rows)


def judged(verdicts: Sequence[Verdict]) -> str:
    """A row for each bar."""
    rows = [("", "reached", "bar", "")]
    for one in verdicts:
        word = {True: "met", False: "NOT MET", None: "not measured"}[one.is_met]
        rows.append((one.title, reached(one), bar(one), word))
    return _aligned(rows)


def reached(one: Verdict) -> str:
    """The value as it is shown."""
    if one.value is None:
        return "-"
    return f"{one.value:.0f}{one.unit}" if one.unit else f"{one.value:.2f}"


def bar(one: Verdict) -> str:
    """The bar as it is shown."""
    return f"{'≤' if one.is_most else '≥'} {one.bar:g}{one.unit}"


def _number(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:,.{places}f}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        first, *rest = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)).rstrip())
    return "\n".join(lines)
