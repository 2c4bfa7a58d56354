# Everything a developer or CI runs. Only a Python >= 3.11 and a shell are taken for granted:
# HOME may be empty or missing, and no server needs to be installed or running.
#
# `make dev ARGS="--port 9000"`, `make test ARGS="tests/core -x"`: ARGS goes to the command.

MAKEFLAGS += --no-builtin-rules
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: setup dev test tools check bench scale lock watch crd dashboards chart help

BIN := .venv/bin
CRD := charts/fluxpay/files/crds/tenants.fluxpay.io.yaml
ARGS ?=

help:
	@echo 'make setup           make .venv and install FluxPay with all that its tests need'
	@echo 'make dev   [ARGS=…]  run the whole service on embedded servers'
	@echo 'make test  [ARGS=…]  run every test'
	@echo 'make tools           build the programs of others that tests run, once; make test does it too'
	@echo 'make check           formatter, linters, layers, types, core and simulation tests'
	@echo 'make bench [ARGS=…]  measure, print one table, write bench.json'
	@echo 'make scale [ARGS=…]  run the operator on a thousand tenants, print figures as JSON'
	@echo 'make lock  [ARGS=…]  write the locks anew (ARGS=--upgrade for newer releases)'
	@echo 'make crd             write the definition of Tenant anew, from its models'
	@echo 'make watch [ARGS=…]  let Prometheus watch five minutes of faults; ask and draw every dashboard'
	@echo 'make dashboards      write the dashboards anew, for Grafana and the chart, from their source'
	@echo 'make chart           write the README and the reviewed renders of the chart anew'

setup:
	@sh -c "$$SETUP"

dev: setup
	@exec $(BIN)/fluxpay dev $(ARGS)

# The tests of one file share servers, so a file stays on one processor.
test: setup
	@$(BIN)/python -m tests.toolbox $(ARGS)
	@$(BIN)/python -m pytest --numprocesses=auto --dist=loadfile $(ARGS)

tools: setup
	@$(BIN)/python -m tests.toolbox

# Fastest first, so that a slip is told within a second.
check: setup
	@echo 'check: format' && $(BIN)/ruff format --quiet --check .
	@echo 'check: lint' && $(BIN)/ruff check --quiet .
	@echo 'check: layers' && told="$$($(BIN)/lint-imports --no-cache 2>&1)" || { echo "$$told"; exit 1; }
	@echo 'check: types' && $(BIN)/mypy --no-error-summary
	@echo 'check: core and simulation' && $(BIN)/python -m pytest --quiet tests/core tests/simulation

bench: setup
	@$(BIN)/python -m tests.bench.run $(ARGS)

scale: setup
	@$(BIN)/python -m tests.toolbox tests/cluster
	@$(BIN)/python -m tests.cluster.scale $(ARGS)

# The image holds what serves and the operator; its wheel is built by the backend alone. Both are
# excerpts of the one lock, so that what is shipped is what was tested. checkov contradicts it.
COMPILE = $(BIN)/uv pip compile --quiet --no-cache --universal --python-version 3.11 \
    --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
    --custom-compile-command 'make lock'

lock: setup
	@$(COMPILE) pyproject.toml --all-extras --output-file requirements.lock $(ARGS)
	@$(COMPILE) pyproject.toml --extra operator --constraints requirements.lock \
	    --output-file requirements-image.lock
	@echo hatchling | $(COMPILE) - --constraints requirements.lock \
	    --output-file requirements-build.lock
	@cd tests/toolbox && ../../$(COMPILE) checkov.in --output-file checkov.lock $(ARGS)
	@echo 'lock: wrote requirements.lock, two excerpts of it for the image, and that of checkov'

# Five minutes of traffic with faults, and the pictures of the documentation.
watch: setup
	@$(BIN)/python -m tests.toolbox tests/observability
	@$(BIN)/python -m tests.observability.watching --pictures docs/how-to/pictures $(ARGS)

dashboards: setup
	@$(BIN)/python -m deploy.grafana.source
	@echo 'dashboards: wrote deploy/grafana/dashboards, and the same into the chart'

crd: setup
	@$(BIN)/python -m fluxpay_operator.crd > $(CRD).new && mv $(CRD).new $(CRD)
	@echo 'crd: wrote $(CRD)'

chart: tools
	@$(BIN)/python -m tests.chart.write
	@echo 'chart: wrote charts/fluxpay/README.md and tests/chart/golden; read the diff'

# ---- the set-up --------------------------------------------------------------------------------
# The stamp holds what was installed and where, and is written last: an interrupted set-up leaves
# none, and a folder that was moved, a new lock or a Python that is gone is noticed.
define SETUP
set -eu
stamp=.venv/setup.stamp
wanted="$$(cat pyproject.toml requirements.lock | cksum) $$(pwd -P)"
if [ "$$(cat $$stamp 2>/dev/null)" = "$$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then
    exit 0
fi
rm -f $$stamp

# Root may set up what another user runs, and root's umask may be anything.
umask 022
# Settings of the caller that would turn an install aside from .venv.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX PIP_ROOT PIP_USER || true
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_PROGRESS_BAR=off
export PIP_ROOT_USER_ACTION=ignore
# Without a home that can be written there is no place for a cache, unless one was named. The
# pip that venv starts ignores PIP_*, so that it makes no home either, HOME is turned to .venv.
if [ -z "$${PIP_CACHE_DIR:-}$${XDG_CACHE_HOME:-}" ] \
    && ! { [ -n "$${HOME:-}" ] && [ -d "$$HOME" ] && [ -w "$$HOME" ]; }; then
    export PIP_NO_CACHE_DIR=1 HOME="$$(pwd -P)/.venv"
fi

candidates="python3.14 python3.13 python3.12 python3.11 python3 python /usr/bin/python3"
# Built with optimisations, as distributions and python.org do and version managers do not unless
# they are told to: it serves a quarter more.
optimized="sys.base_prefix == '/usr' or '--enable-optimizations' in (sysconfig.get_config_var('CONFIG_ARGS') or '')"
# Answers with a Python new enough that can import the named modules: the one that was named, or
# the first that is optimized, or the first. Asking it to run is the test: a version manager may
# put names on PATH that start nothing.
first_python() {
    suits() {
        "$$1" -c "import sys, sysconfig, venv$$2; sys.exit(sys.version_info < (3, 11) or not ($$3))" 2>/dev/null
    }
    if [ -n "$${PYTHON:-}" ] && suits "$$PYTHON" "$$1" True; then
        printf '%s' "$$PYTHON"
        return 0
    fi
    for condition in "$$optimized" True; do
        for candidate in $$candidates; do
            if suits "$$candidate" "$$1" "$$condition"; then
                printf '%s' "$$candidate"
                return 0
            fi
        done
    done
    return 1
}
# Some systems ship Python without ensurepip; then any pip at hand can fill the environment.
first_pip() {
    for candidate in "$$1 -m pip" pip3 pip; do
        if $$candidate --python "$$(command -v "$$1")" --version >/dev/null 2>&1; then
            printf '%s' "$$candidate"
            return 0
        fi
    done
    return 1
}
give_up() { echo "setup: $$1" >&2; exit 1; }

if python="$$(first_python ', ensurepip')"; then
    borrowed_pip=
elif python="$$(first_python '')"; then
    borrowed_pip="$$(first_pip "$$python")" \
        || give_up "$$python lacks ensurepip and there is no pip: install python3-venv, then repeat"
else
    give_up "needs Python 3.11 or newer: install it, or name one with 'make setup PYTHON=…'"
fi

if [ -n "$$borrowed_pip" ]; then
    echo "setup: making .venv with $$("$$python" --version) and the pip at hand"
    "$$python" -m venv --clear --without-pip .venv
    pip="$$borrowed_pip --python .venv/bin/python"
elif .venv/bin/python -m pip --version >/dev/null 2>&1 \
    && [ "$$(cat .venv/setup.place 2>/dev/null)" = "$$(pwd -P)" ]; then
    echo "setup: keeping .venv, what it holds has changed"
    pip=".venv/bin/python -m pip"
else
    echo "setup: making .venv with $$("$$python" --version)"
    "$$python" -m venv --clear .venv
    pip=".venv/bin/python -m pip"
fi
# Scripts name the folder they were installed in, so an environment that moved is made anew.
pwd -P > .venv/setup.place

echo "setup: installing $$(grep -c == requirements.lock) packages; the first time this takes a minute"
$$pip --quiet install --require-hashes --only-binary=:all: -r requirements.lock \
    || give_up "could not install the packages: see pip's message above, then repeat"
echo "setup: installing fluxpay"
$$pip --quiet install --no-deps --no-build-isolation --editable . \
    || give_up "could not install fluxpay: see pip's message above, then repeat"

printf '%s' "$$wanted" > $$stamp.new
mv $$stamp.new $$stamp
echo "setup: done"
endef
export SETUP
