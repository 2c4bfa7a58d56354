"""What there is to ask for: the series that the page of the metrics lists.

Knows the layout of that page. Must not know who asks.
"""

from __future__ import annotations

import re

from tests.docs.pages import code, read, table


def series() -> set[str]:
    """The series of the reference page, and those of the Prometheus client."""
    text = read("docs/reference/metrics.md")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    rows = {
        code(row[0]): row[1]
        for heading in headings
        for row in table(text, heading)
        if len(row) > 1 and row[0].startswith("`")
    }
    made = {
        f"{name}{end}"
        for name, kind in rows.items()
        if kind == "histogram"
        for end in ("_bucket", "_count", "_sum")
    }
    process = ("cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds")
    return {
        *rows,
        *made,
        *(f"process_{name}" for name in (*process, "start_time_seconds")),
    }
