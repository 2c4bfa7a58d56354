"""What FluxPay stands on: Postgres, Redis, its own pools, caches and event loops."""

from typing import Final

from deploy.grafana.source.vocabulary import (
    Board,
    Colour,
    Kind,
    Panel,
    Query,
    Row,
    Step,
    by,
    heat,
    of,
    quantile,
    quantiles,
    rate,
    share,
    top,
)

_ASKED: Final = "db_client_operation_duration_seconds"
_POOL: Final = "db_client_connection_pool_name"
_POOL_LEGEND: Final = f"{{{{{_POOL}}}}}"
_OPERATION: Final = "db_operation_name"
_NONE_IS_GOOD: Final = (Step(0, Colour.GOOD), Step(1, Colour.BAD))


def _is(system: str) -> str:
    return f'db_system_name="{system}"'


def _latency(name: str, system: str, advice: str) -> tuple[Panel, ...]:
    return (
        Panel(
            title=f"{name} latency",
            description=f"How long {name} takes to answer one question. {advice}",
            unit="s",
            width=8,
            queries=quantiles(_ASKED, _is(system)),
        ),
        Panel(
            title=f"{name} latencies, all of them",
            description="Answers a second by how long they took.",
            unit="s",
            width=8,
            kind=Kind.HEATMAP,
            queries=heat(_ASKED, _is(system)),
        ),
        Panel(
            title=f"{name} by question",
            description="99 % of the answers to each question come within this time; the eight "
            "slowest.",
            unit="s",
            width=8,
            kind=Kind.BARS,
            queries=(
                Query(
                    top(8, quantile(0.99, _ASKED, _is(system), labels=_OPERATION)),
                    f"{{{{{_OPERATION}}}}}",
                ),
            ),
        ),
    )


_STATE: Final = Row(
    "What is missing",
    (
        Panel(
            title="Degraded",
            description="1 while a process does without a dependency. Without Redis payments go "
            "on, and each process counts quotas alone. Without the database nothing is written.",
            unit="short",
            most=1,
            queries=(
                Query(
                    by("job, dependency", of("fluxpay_degraded"), how="max"),
                    "{{job}} without {{dependency}}",
                ),
            ),
            steps=_NONE_IS_GOOD,
        ),
        Panel(
            title="Questions that failed",
            description="Questions to a store without an answer, by what went wrong.",
            unit="ops",
            queries=(
                Query(
                    by(
                        "db_system_name, error_type",
                        rate(f"{_ASKED}_count", 'error_type!=""'),
                    ),
                    "{{db_system_name}} {{error_type}}",
                ),
            ),
        ),
    ),
)
_POSTGRES: Final = Row(
    "Postgres",
    (
        *_latency(
            "Postgres",
            "postgresql",
            "Milliseconds are usual; when all rise at once, it is the network, the disk or locks.",
        ),
        Panel(
            title="Connections in use",
            description="By pool. A pool that is full for long makes requests wait.",
            unit="short",
            width=6,
            queries=(
                Query(
                    by(
                        _POOL,
                        of("db_client_connections", 'db_client_connection_state="used"'),
                    ),
                    f"{_POOL_LEGEND} used",
                ),
                Query(
                    by(_POOL, of("db_client_connection_max")),
                    f"{_POOL_LEGEND} at most",
                ),
            ),
        ),
        Panel(
            title="Idle connections",
            description="Open and waiting for work, by pool.",
            unit="short",
            width=6,
            queries=(
                Query(
                    by(
                        _POOL,
                        of("db_client_connections", 'db_client_connection_state="idle"'),
                    ),
                    _POOL_LEGEND,
                ),
            ),
        ),
        Panel(
            title="Waiting for a connection",
            description="Requests that wait because a pool is empty. Raise "
            "FLUXPAY_DATABASE_POOL_MAX if Postgres has room.",
            unit="short",
            width=6,
            queries=(Query(by(_POOL, of("db_client_connection_pending_requests")), _POOL_LEGEND),),
        ),
        Panel(
            title="Gave up waiting",
            description="Requests that got no connection in time and were answered with a 503.",
            unit="ops",
            width=6,
            queries=(Query(by(_POOL, rate("db_client_connection_timeouts_total")), _POOL_LEGEND),),
        ),
    ),
)
_REDIS: Final = Row(
    "Redis",
    (
        *_latency(
            "Redis",
            "redis",
            "Beyond FLUXPAY_REDIS_TIMEOUT_MS it is not waited for, and its stand-ins answer.",
        ),
        Panel(
            title="Commands a flush",
            description="How many commands of one turn of the event loop travel together.",
            unit="short",
            width=8,
            queries=quantiles("fluxpay_redis_pipeline_size"),
        ),
        Panel(
            title="Waiting for Redis",
            description="Commands that wait for a pipeline to Redis, in each process.",
            unit="short",
            width=8,
            queries=(Query(by("instance", of("fluxpay_redis_queue_depth")), "{{instance}}"),),
        ),
        Panel(
            title="Lost commands",
            description="Commands that nobody waits for, and that failed or were not sent: copies "
            "of replies, counts. Money is not touched.",
            unit="ops",
            width=8,
            queries=(Query(by("instance", rate("fluxpay_redis_lost_total")), "{{instance}}"),),
        ),
    ),
)
_OWN: Final = Row(
    "Inside",
    (
        Panel(
            title="Event loop lag",
            description="How late each kind of process comes to what is due: 99 %. Work that does "
            "not yield, or a processor that is not there.",
            unit="s",
            width=8,
            queries=(
                Query(quantile(0.99, "fluxpay_event_loop_lag_seconds", labels="job"), "{{job}}"),
            ),
        ),
        Panel(
            title="Keys found in memory",
            description="The share of requests whose key was known already. A miss asks Postgres.",
            unit="percentunit",
            width=8,
            most=1,
            queries=(Query(share("fluxpay_key_cache_total", 'result="hit"'), "hits"),),
        ),
        Panel(
            title="Keys in memory",
            description="Keys that each process knows at this moment.",
            unit="short",
            width=8,
            queries=(Query(by("instance", of("fluxpay_key_cache_entries")), "{{instance}}"),),
        ),
        Panel(
            title="Spans",
            description="Spans that were handed to the collector, and those that were dropped "
            "because it is slow or gone. Nothing else waits for it.",
            unit="ops",
            width=6,
            queries=(Query(by("result", rate("fluxpay_spans_total")), "{{result}}"),),
        ),
        Panel(
            title="Log lines lost",
            description="Lines that nobody took in time and that were dropped, so that no request "
            "waits for a log. Look at what collects them.",
            unit="ops",
            width=6,
            queries=(Query(by("job", rate("fluxpay_log_lines_dropped_total")), "{{job}}"),),
        ),
        Panel(
            title="Open files",
            description="Sockets and files of each process, as a share of what it may open.",
            unit="percentunit",
            width=6,
            queries=(
                Query(
                    by(
                        "job, instance",
                        f"{of('process_open_fds')} / {of('process_max_fds')}",
                        how="max",
                    ),
                    "{{job}} {{instance}}",
                ),
            ),
            steps=(Step(0, Colour.GOOD), Step(0.8, Colour.WARN)),
        ),
        Panel(
            title="Age of processes",
            description="Since each process started. A process that is always young is restarted "
            "again and again.",
            unit="s",
            width=6,
            kind=Kind.BARS,
            queries=(
                Query(
                    f"time() - {by('job, instance', of('process_start_time_seconds'), how='max')}",
                    "{{job}} {{instance}}",
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    uid="fluxpay-dependencies",
    title="FluxPay / Dependencies",
    description="Postgres, Redis, pools, caches and event loops.",
    rows=(_STATE, _POSTGRES, _REDIS, _OWN),
)
