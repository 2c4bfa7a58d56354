"""The page of the logs says what is logged: every event with its level and its members."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from fluxpay.observability import logs
from tests.docs.pages import ROOT, code, read, table

PAGE = read("docs/reference/logs.md")
LEVELS = ("debug", "info", "warning", "error", "critical", "exception", "log")
# What stands for members that are named elsewhere.
UNPACKED = {"**key.members": ["namespace", "tenant"], "**about": ["namespace", "tenant"]}


@dataclass(slots=True)
class Event:
    """What the calls of one event say."""

    levels: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call of a logger of ours: the method, and the call."""
    for folder in ("fluxpay", "operator"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                source = node.func.value
                is_ours = isinstance(source, ast.Name) and source.id in ("_LOG", "log")
                if is_ours and node.func.attr in LEVELS:
                    yield node.func.attr, node


def events() -> dict[str, Event]:
    """What the code logs, by the name of the event."""
    found: dict[str, Event] = defaultdict(Event)
    for method, call in calls():
        first = call.args[1] if method == "log" else call.args[0]
        assert isinstance(first, ast.Constant), ast.unparse(call)
        event = found[str(first.value)]
        if method != "log":
            event.levels.add("error" if method == "exception" else method)
        if method == "exception":
            event.members.add("exception")
        for keyword in call.keywords:
            if keyword.arg is None:
                event.members.update(UNPACKED[f"**{ast.unparse(keyword.value)}"])
            else:
                event.members.add("exception" if keyword.arg == "exc_info" else keyword.arg)
    # What the pipeline says of itself goes around the loggers.
    found["line_unwritable"] = Event({"error"}, {"of", "error"})
    found["lines_dropped"] = Event({"warning"}, {"lines"})
    return found


def rows() -> dict[str, Event]:
    """What the page says, by the name of the event."""
    found = {}
    for heading in ("Service", "Worker", "Operator", "Every process"):
        for name, level, members, *rest in table(PAGE, heading):
            assert all(rest), name
            assert code(name) not in found
            levels = set(level.split(", "))
            found[code(name)] = Event(levels, set(re.findall(r"`(\w+)`", members)))
    return found


def test_every_event_is_documented_with_its_members_and_no_other() -> None:
    said = {name: sorted(event.members) for name, event in rows().items()}
    assert {name: sorted(event.members) for name, event in events().items()} == said


def test_the_levels_are_those_of_the_code() -> None:
    documented = rows()
    for name, event in events().items():
        assert event.levels <= documented[name].levels, name
        assert documented[name].levels <= set(LEVELS), name


def test_an_event_is_a_name_and_all_it_says_stands_in_members() -> None:
    for method, call in calls():
        name = call.args[-1]
        assert isinstance(name, ast.Constant)
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", str(name.value)), ast.unparse(call)
        assert (2 if method == "log" else 1) == len(call.args), ast.unparse(call)


def test_the_members_of_every_line_stand_in_their_order() -> None:
    told = [code(row[0]) for row in table(PAGE, "Members")]
    assert list(logs.LEADING) == told[: len(logs.LEADING)]
    ids = ["trace_id", "span_id", "tenant_id", "key_id"]
    assert [*ids, "namespace", "tenant", "exception"] == told[len(logs.LEADING) :]


def test_no_logger_is_made_but_by_the_pipeline() -> None:
    made = {
        str(path.relative_to(ROOT))
        for folder in ("fluxpay", "operator")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"getLogger\(\"fluxpay|basicConfig", path.read_text(encoding="utf-8"))
    }
    assert {"fluxpay/observability/logs.py"} == made
