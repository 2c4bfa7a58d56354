"""What guides and explanations say of the code, where no command of theirs would notice."""

import re

import yaml

from fluxpay.core.keys import Scope
from fluxpay.settings import Settings
from fluxpay.stores import records
from fluxpay.web.routes import API_ROUTES
from fluxpay.worker.telemetry import JOBS
from tests.docs.pages import code, read, section, table

TIMES = {"twice": 2, "three times": 3, "four times": 4}


def test_the_scopes_without_routes_are_named() -> None:
    unused = set(Scope) - {route.scope for route in API_ROUTES}
    text = section(read("docs/how-to/manage-tenants-and-keys.md"), "Make a key")
    assert sorted(unused) == re.findall(r"`([a-z:]+)` has none yet", text)


def test_a_tenant_says_so_while_no_webhook_is_delivered() -> None:
    are_delivered = Scope.WEBHOOKS_MANAGE in {route.scope for route in API_ROUTES}
    (told,) = (
        row[-1] for row in table(read("docs/reference/tenant.md"), "Spec") if row[0] == "`webhooks`"
    )
    assert are_delivered == ("This release delivers none" not in told)


def test_the_time_to_end_in_is_what_chart_and_compose_give() -> None:
    (told,) = re.findall(
        r"plus 10 s before you kill the process, (\d+) s by default",
        section(read("docs/how-to/run-in-production.md"), "Stop"),
    )
    settings = Settings("postgresql://", "redis://")
    assert 2 * settings.shutdown_timeout_s + 10 == int(told)
    grace = "terminationGracePeriodSeconds: {{ add (mul 2 .Values.config.shutdownTimeoutS) 10 }}"
    assert grace in read("charts/fluxpay/templates/worker.yaml")
    api = yaml.safe_load(read("deploy/compose.yaml"))["services"]["api"]
    assert f"{told}s" == api["stop_grace_period"]


def test_the_repeats_after_a_lost_reply_are_counted() -> None:
    text = section(read("docs/explanation/commit-path.md"), "A lost reply")
    (told,) = re.findall(r"on a new connection, up to (\w+ times)", text)
    assert records._ATTEMPTS_MAX - 1 == TIMES[told]


def test_the_spans_of_the_worker_are_named_after_its_jobs() -> None:
    rows = table(read("docs/how-to/trace-a-payment.md"), "Read the trace")
    (names,) = (row[0] for row in rows if "a round of the worker" in row[2])
    assert sorted(JOBS) == sorted(re.findall(r"`(\w+)`", names))


def test_no_table_of_metrics_lists_a_name_twice() -> None:
    text = read("docs/reference/metrics.md")
    for heading in ("Every process", "Service", "Worker", "Operator"):
        names = [code(row[0]) for row in table(text, heading)]
        assert sorted(set(names)) == sorted(names), heading
