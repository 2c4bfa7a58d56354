"""The reference pages say what the code says: names, defaults, bounds, codes, labels, options."""

import argparse
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fluxpay.cli import _parser
from fluxpay.core.limits import Quota, WindowCount, admits, decide
from fluxpay.core.problems import PROBLEMS
from fluxpay.observability.exposition import LoopLag, exposition, new_registry
from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.proof import CHECKS
from fluxpay.settings import (
    KNOWN,
    OPERATOR,
    PLAIN,
    SECRETS,
    WORKER,
    BadSetting,
    OperatorSettings,
    Settings,
    WorkerSettings,
)
from fluxpay.stores.measuring import Standing
from fluxpay.web.context import PROBES
from fluxpay.web.origins import TABLES
from fluxpay.web.routes import ADMIN_ROUTES, API_ROUTES
from fluxpay.web.telemetry import Metrics
from fluxpay.worker import jobs
from fluxpay.worker.telemetry import Metrics as WorkerMetrics
from fluxpay.worker.telemetry import show_degraded
from fluxpay_operator.metrics import Metrics as OperatorMetrics
from fluxpay_operator.status import Condition, ConditionStatus, ConditionType, KeyStatus, Status
from fluxpay_operator.work_queue import Key
from tests.docs.pages import code, pages, read, section, table

ENOUGH = {
    "FLUXPAY_DATABASE_URL": "postgresql://fluxpay_app@db/fluxpay",
    "FLUXPAY_REDIS_URL": "redis://cache:6379/0",
}
ENOUGH_FOR_THE_OPERATOR = {
    "FLUXPAY_OPERATOR_ADMIN_URL": "https://fluxpay-admin:8081",
    "FLUXPAY_OPERATOR_API_URL": "https://pay.example.com",
    "FLUXPAY_ADMIN_TOKEN": "any",
}
BOOKS = read("docs/explanation/books.md")
CONFIGURATION = read("docs/reference/configuration.md")
PLAIN_ROWS = table(CONFIGURATION, "Listening") + table(CONFIGURATION, "Limits and tuning")
OPERATOR_ROWS = table(CONFIGURATION, "Operator")
TRACE_ROWS = table(CONFIGURATION, "Traces")
WORKER_ROWS = table(CONFIGURATION, "Worker")
BOUNDED_ROWS = [
    row for row in PLAIN_ROWS + OPERATOR_ROWS + WORKER_ROWS if row[2].startswith("from ")
]


def test_every_variable_is_documented_and_no_other() -> None:
    secrets = [code(cell) for row in table(CONFIGURATION, "Secrets") for cell in row[:2]]
    rows = PLAIN_ROWS + OPERATOR_ROWS + WORKER_ROWS
    assert sorted(KNOWN) == sorted([*secrets, *(code(row[0]) for row in rows)])


class Noted(dict[str, str]):
    """An environment that notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__(
            OTEL_EXPORTER_OTLP_ENDPOINT="http://c:1", OTEL_TRACES_SAMPLER="traceidratio"
        )
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return super().get(name, default)


def test_every_variable_of_traces_is_documented_and_no_other() -> None:
    environ = Noted()
    TraceSettings.from_environment(environ, service="fluxpay-api")
    documented = {code(row[0]) for row in TRACE_ROWS}
    for_traces = {name for name in environ.asked if "OTLP_TRACES_" in name}
    assert documented == environ.asked - for_traces
    assert for_traces == {
        name.replace("_OTLP_", "_OTLP_TRACES_") for name in documented if "_OTLP_" in name
    }


def test_documented_defaults_of_traces_are_the_defaults() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}
    settings = TraceSettings.from_environment(environ, service="fluxpay-api")
    assert settings is not None
    expected = {
        "OTEL_EXPORTER_OTLP_TIMEOUT": settings.timeout_s,
        "OTEL_EXPORTER_OTLP_COMPRESSION": settings.compression,
        "OTEL_TRACES_SAMPLER": settings.sampler,
        "OTEL_TRACES_SAMPLER_ARG": settings.ratio,
        "OTEL_BSP_MAX_QUEUE_SIZE": settings.queue_max,
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": settings.batch_max,
        "OTEL_BSP_SCHEDULE_DELAY": settings.delay_ms,
    }
    documented = {code(row[0]): code(row[1]) for row in TRACE_ROWS}
    assert {name: str(value) for name, value in expected.items()} == {
        name: documented[name] for name in expected
    }


@pytest.mark.parametrize(
    "row", [row for row in TRACE_ROWS if "from 1 to" in row[2]], ids=lambda row: code(row[0])
)
def test_documented_bounds_of_traces_are_the_bounds(row: list[str]) -> None:
    least, most = (int(number) for number in re.findall(r"\d+", row[2]))
    # Whichever is tried, the queue has room for a batch.
    room = {"OTEL_BSP_MAX_QUEUE_SIZE": "1000000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1"}

    def takes(value: int) -> bool:
        try:
            TraceSettings.from_environment({**room, code(row[0]): str(value)}, service="any")
        except BadSetting:
            return False
        return True

    assert [False, True, True, False] == [
        takes(value) for value in (least - 1, least, most, most + 1)
    ]


def test_secrets_and_plain_settings_stand_in_their_tables() -> None:
    secrets = [code(row[0]).removeprefix("FLUXPAY_") for row in table(CONFIGURATION, "Secrets")]
    plain = [code(row[0]).removeprefix("FLUXPAY_") for row in PLAIN_ROWS]
    assert (set(SECRETS), set(PLAIN)) == (set(secrets), set(plain))


def test_no_page_names_a_variable_that_does_not_exist() -> None:
    named = {
        name
        for page in pages()
        for name in re.findall(r"FLUXPAY_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8"))
    }
    assert set() == named - KNOWN


def test_documented_defaults_are_the_defaults() -> None:
    settings = Settings.from_environment(ENOUGH)
    spoken = {None: "none", (): "none", False: "false"}
    values = {name: getattr(settings, name.lower()) for name in PLAIN}
    expected = {name: spoken.get(value, str(value)) for name, value in values.items()}
    # The one default that follows another setting.
    assert settings.host == settings.admin_host
    expected["ADMIN_HOST"] = "as `FLUXPAY_HOST"
    documented = {code(row[0]).removeprefix("FLUXPAY_"): code(row[1]) for row in PLAIN_ROWS}
    assert expected == documented


def test_the_pages_tell_how_many_connections_a_process_holds() -> None:
    settings = Settings.from_environment(ENOUGH)
    told = re.findall(r"Postgres, (\d+) by default", section(CONFIGURATION, "Connections"))
    assert [str(settings.database_pool_max + settings.commit_writers)] == told
    guide = section(read("docs/how-to/run-in-production.md"), "Several processes")
    assert told == re.findall(r"\[(\d+) connections\]", guide)


def test_documented_defaults_of_the_operator_are_its_defaults() -> None:
    settings = OperatorSettings.from_environment(ENOUGH_FOR_THE_OPERATOR)
    expected = {}
    for name in OPERATOR:
        value = getattr(settings, name.lower())
        is_needed = f"FLUXPAY_{name}" in ENOUGH_FOR_THE_OPERATOR
        expected[name] = (
            "needed" if is_needed else {None: "none", (): "none"}.get(value, str(value))
        )
    documented = {code(row[0]).removeprefix("FLUXPAY_"): code(row[1]) for row in OPERATOR_ROWS}
    assert expected == documented


def test_documented_defaults_of_the_worker_are_its_defaults() -> None:
    settings = WorkerSettings.from_environment(ENOUGH)
    expected = {name: str(getattr(settings, name.lower())) for name in WORKER}
    documented = {code(row[0]).removeprefix("FLUXPAY_"): code(row[1]) for row in WORKER_ROWS}
    assert expected == documented


@pytest.mark.parametrize("row", BOUNDED_ROWS, ids=lambda row: code(row[0]))
def test_documented_bounds_are_the_bounds(row: list[str]) -> None:
    name = code(row[0])
    least, most = (int(number) for number in re.findall(r"\d+", row[2]))
    taken = [_takes(name, value) for value in (least - 1, least, most, most + 1)]
    assert [False, True, True, False] == taken


def test_every_problem_is_documented_with_status_and_title() -> None:
    expected = [[f"`{key}`", str(one.status), one.title] for key, one in PROBLEMS.items()]
    assert expected == table(read("docs/reference/problems.md"), "Codes")


def test_no_page_names_a_problem_that_does_not_exist() -> None:
    answer = re.compile(r'[45]\d\d `([a-z_]+)`|/problems/([a-z_]+)|"code":\s*"([a-z_]+)"')
    named = {
        "".join(groups)
        for page in pages()
        for groups in answer.findall(page.read_text(encoding="utf-8"))
    }
    assert named, "the pattern finds no code at all"
    assert set() == named - {str(one) for one in PROBLEMS}


def test_every_metric_is_documented_with_its_kind_and_labels() -> None:
    shared = _documented("Every process")
    for heading, exported in (
        ("Service", _of_service()),
        ("Worker", _of_worker()),
        ("Operator", _of_operator()),
    ):
        assert exported == shared | _documented(heading), heading


def test_every_command_and_option_is_documented() -> None:
    page = read("docs/reference/commands.md")
    documented = {
        name: {code(row[0]) for row in table(page, f"fluxpay {name}")}
        for name in re.findall(r"^## fluxpay (\w+)$", page, re.MULTILINE)
    }
    assert _commands() == documented


def test_the_documented_rounds_of_the_worker_are_its_rounds() -> None:
    text = section(read("docs/reference/commands.md"), "fluxpay worker")
    rounds = re.findall(r"^- Every ([\d.]+) s .* up to ([\d,]+) in one go\.$", text, re.MULTILINE)
    expected = [
        (jobs.EXPIRY_INTERVAL_S, jobs.EXPIRED_MAX),
        (jobs.SEAL_INTERVAL_S, jobs.SEALED_MAX),
    ]
    assert expected == [(float(every), int(most.replace(",", ""))) for every, most in rounds]
    assert f"- Every {jobs.MEASURE_INTERVAL_S:g} s it measures" in text


def test_every_check_of_verify_is_explained() -> None:
    explained = [code(row[0]) for row in table(BOOKS, "What verify proves")]
    assert list(CHECKS) == explained


def test_documented_options_have_the_documented_defaults() -> None:
    expected = {}
    for option, help_, default in _options("dev"):
        told = re.search(r"default: ([\w.]+)\)", help_)
        expected[option] = default if told is None else told[1]
    # A switch is off unless it is given.
    expected["--reset"] = ""
    rows = table(read("docs/reference/commands.md"), "fluxpay dev")
    assert expected == {code(row[0]): code(row[1]) for row in rows}


def test_every_route_is_documented_with_its_scope() -> None:
    page = read("docs/reference/http.md")
    expected = [[one.method, f"`{one.path}`", _shown_scope(one.scope)] for one in API_ROUTES]
    assert expected == [row[:3] for row in table(page, "The API port")]
    expected = [[one.method, f"`{one.path}`"] for one in ADMIN_ROUTES]
    assert expected == [row[:2] for row in table(page, "The admin port")]
    probes = {code(row[1]) for row in table(page, "Probes and metrics")}
    assert PROBES == probes


def test_the_worked_example_of_the_rate_limits_is_right() -> None:
    quota = Quota(name="example", requests=100, window_s=60)
    count = WindowCount(previous=80, current=30, elapsed_ms=15_000)
    (state,) = decide((quota,), (count,)).states
    text = section(read("docs/explanation/rate-limits.md"), "The window slides")
    assert f"`r={state.remaining}`" in text
    assert f"`t={state.reset_s}`" in text
    tenth = WindowCount(previous=80, current=30 + 1 + state.remaining, elapsed_ms=15_000)
    throttled = decide((quota,), (tenth,))
    assert f"`Retry-After: {getattr(throttled, 'retry_after_s', None)}`" in text
    for elapsed_ms, expected in ((15_749, False), (15_750, True)):
        assert expected == admits(quota, WindowCount(80, 40, elapsed_ms))


def _takes(name: str, value: int) -> bool:
    # The other port must not be the same.
    other = {"FLUXPAY_PORT": "1234", "FLUXPAY_ADMIN_PORT": "1235"}
    try:
        if name.removeprefix("FLUXPAY_") in OPERATOR:
            OperatorSettings.from_environment({**ENOUGH_FOR_THE_OPERATOR, name: str(value)})
        elif name.removeprefix("FLUXPAY_") in WORKER:
            WorkerSettings.from_environment({**ENOUGH, name: str(value)})
        else:
            Settings.from_environment({**ENOUGH, **other, name: str(value)})
    except BadSetting:
        return False
    return True


Shown = dict[str, tuple[str, set[str]]]
"""Kind and labels of each metric, by name."""


def _documented(heading: str) -> Shown:
    rows = table(read("docs/reference/metrics.md"), heading)
    return {
        code(name): (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows
    }


def _of_service() -> Shown:
    """What is shown once everything has been counted."""
    metrics = Metrics()
    metrics.answered(route="/", method="GET", status=200, started_s=0, exemplar=None)
    metrics.payment_ended("captured", "EUR")
    metrics.rate_limited("/")
    metrics.fraud_rejected("velocity")
    metrics.effect_answered(next(iter(TABLES)), 0.001)
    metrics.key_looked_up(0.001, None)
    return _shown(metrics.exposition("")[0])


def _of_worker() -> Shown:
    registry = new_registry()
    LoopLag(registry)
    worker_metrics = WorkerMetrics(registry)
    show_degraded(registry, lambda: False)
    worker_metrics.measured(Standing(0, 0.0, {"EUR": 0}, 0, 0.0))
    return _shown(exposition(registry, "")[0])


def _of_operator() -> Shown:
    metrics = OperatorMetrics()
    condition = Condition(
        type=ConditionType.READY,
        status=ConditionStatus.TRUE,
        reason="Ready",
        message="It is.",
        observed_generation=1,
        last_transition_time="2026-01-01T00:00:00Z",
    )
    instant = "2026-01-01T00:00:00Z"
    key = KeyStatus(name="till", expires_at=instant, rotates_at=instant)
    status = Status(conditions=(condition,), keys=(key,))
    metrics.tenants.tell(Key("shops", "corner"), status)
    return _shown(metrics.exposition("")[0])


def _shown(text: bytes) -> Shown:
    found: Shown = {}
    for family in text_string_to_metric_families(text.decode()):
        if family.name.startswith(("process_", "python_")):
            continue
        labels = {label for one in family.samples for label in one.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found[name] = (family.type, labels)
    return found


def _subparsers() -> dict[str, argparse.ArgumentParser]:
    actions = _parser()._actions
    (commands,) = (one for one in actions if isinstance(one, argparse._SubParsersAction))
    return dict(commands.choices)


def _options(command: str) -> list[tuple[str, str, Any]]:
    return [
        ((one.option_strings or [one.dest])[-1], one.help or "", str(one.default))
        for one in _subparsers()[command]._actions
        if not isinstance(one, argparse._HelpAction)
    ]


def _commands() -> dict[str, set[str]]:
    return {name: {option for option, _, _ in _options(name)} for name in _subparsers()}


def _shown_scope(scope: object) -> str:
    return "none" if scope is None else f"`{scope}`"
