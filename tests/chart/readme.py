"""The chart's README: its first part is written here, its tables are made of values.yaml.

Knows how our values.yaml is laid out: two blanks a level, and a comment above what it tells about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from tests.chart.helm import CHART

FILE: Final = CHART / "README.md"
HEAD: Final = """\
# The FluxPay chart

Runs the API, the worker and the tenant operator from one image. This page is made from
`values.yaml` by `make chart`; change it there.

[Deploy on Kubernetes](../../docs/how-to/deploy-on-kubernetes.md) shows an installation step by
step, and [deploy/presets](../../deploy/presets) has values for common surroundings. Several files
add up:

```console
$ helm upgrade --install fluxpay charts/fluxpay --namespace fluxpay --create-namespace \\
    --values deploy/presets/ha.yaml --values deploy/presets/cnpg.yaml
```

The chart makes no Secret and asks the cluster nothing while it renders: two renders are the same to
the byte. A value that it does not have is refused, and so is one that cannot be right.
"""

_LINE: Final = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z0-9-]+):(?P<rest>.*)$")


@dataclass(frozen=True, slots=True)
class Row:
    """A value. Args: path: such as `api.replicas`; text: what its comment says."""

    path: str
    default: Any
    text: str


def rows() -> Iterator[Row]:
    """The values that have a comment, and those below a commented one that have none."""
    source = (CHART / "values.yaml").read_text("utf-8")
    defaults = yaml.safe_load(source)
    comment: list[str] = []
    path: list[str] = []
    for line in source.splitlines()[2:]:
        found = _LINE.match(line)
        if found is None:
            is_comment = line.lstrip().startswith("# ")
            comment = [*comment, line.lstrip()[2:]] if is_comment else []
            continue
        path = [*path[: len(found["indent"]) // 2], found["key"]]
        if not _lies_in_a_default(path, defaults):
            value = _at(defaults, path)
            is_open = isinstance(value, dict) and value and not _is_whole(path)
            if not is_open or comment:
                yield Row(".".join(path), None if is_open else value, " ".join(comment))
        comment = []


def text() -> str:
    """The whole page."""
    lines = [HEAD, "## Values", ""]
    lines += ["| value | default | what it is |", "|---|---|---|"]
    for row in rows():
        shown = f"`{json.dumps(row.default)}`" if row.default is not None else ""
        told = row.text.replace("|", "\\|")
        lines.append(f"| `{row.path}` | {shown.replace('|', chr(92) + '|')} | {told} |")
    return "\n".join([*lines, ""])


def write() -> None:
    """Write the page."""
    FILE.write_text(text(), "utf-8")


def _at(values: Any, path: list[str]) -> Any:
    for key in path:
        values = values[key]
    return values


def _is_whole(path: list[str]) -> bool:
    """Whether a map is one default, and not a group of values."""
    return path[-1] in {"resources", "to", "labels"} or path[-2:] == ["api", "pod"]


def _lies_in_a_default(path: list[str], defaults: Any) -> bool:
    try:
        _at(defaults, path)
    except (KeyError, TypeError):
        # A line of a list.
        return True
    return any(_is_whole(path[:depth]) for depth in range(1, len(path)))
