"""Payments and the ledger: how they end, how they are committed, whether the books hold."""

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
    only,
    quantile,
    quantiles,
    rate,
    share,
)

_NONE_IS_GOOD: Final = (Step(0, Colour.GOOD), Step(1, Colour.BAD))
_JOB: Final = "worker_job"

_OUTCOMES: Final = Row(
    "How payments end",
    (
        Panel(
            title="Payments and changes by outcome",
            description="New payments, captures, voids and refunds by how they ended; items of "
            "batches too. `refused` is any other 4xx, `failed` a 5xx.",
            unit="reqps",
            kind=Kind.AREAS,
            queries=(Query(by("outcome", rate("fluxpay_payments_total")), "{{outcome}}"),),
        ),
        Panel(
            title="New payments by currency",
            description="Captured or authorized.",
            unit="reqps",
            kind=Kind.AREAS,
            width=6,
            queries=(
                Query(
                    by(
                        "currency", rate("fluxpay_payments_total", 'outcome=~"captured|authorized"')
                    ),
                    "{{currency}}",
                ),
            ),
        ),
        Panel(
            title="Idempotency keys",
            description="What came of each claim of a key. Many `replayed_database` mean that "
            "Redis has lost its copies; `mismatch` is a client that uses a key twice.",
            unit="reqps",
            width=6,
            queries=(Query(by("result", rate("fluxpay_idempotency_total")), "{{result}}"),),
        ),
    ),
)
_COMMITS: Final = Row(
    "How they are committed",
    (
        Panel(
            title="Commit duration",
            description="One statement that writes a whole batch, its flush to disk included. A "
            "slow disk and a waiting lock show here first.",
            unit="s",
            width=8,
            queries=quantiles("fluxpay_commit_duration_seconds"),
        ),
        Panel(
            title="Commit durations, all of them",
            description="Commits a second by how long they took.",
            unit="s",
            width=8,
            kind=Kind.HEATMAP,
            queries=heat("fluxpay_commit_duration_seconds"),
        ),
        Panel(
            title="Payments a commit",
            description="How many payments shared a commit. It grows with the load, and is the "
            "design at work: near FLUXPAY_COMMIT_BATCH_MAX, look at the latency.",
            unit="short",
            width=8,
            queries=(
                *quantiles("fluxpay_commit_batch_size"),
                Query(
                    f"{by('', rate('fluxpay_commit_batch_size_sum'))} / "
                    f"({by('', rate('fluxpay_commit_batch_size_count'))} > 0)",
                    "mean",
                ),
            ),
        ),
        Panel(
            title="Commits",
            description="Batches that were written, a second.",
            unit="ops",
            width=8,
            queries=(
                Query(by("instance", rate("fluxpay_commit_batch_size_count")), "{{instance}}"),
            ),
        ),
        Panel(
            title="Waiting for a commit",
            description="Payments that wait for the commit under way to end. It is zero or some "
            "tens; when it only grows, Postgres does not keep up.",
            unit="short",
            width=8,
            queries=(Query(by("instance", of("fluxpay_commit_queue_depth")), "{{instance}}"),),
        ),
        Panel(
            title="Replays",
            description="The share of new payments and changes that were repeats, answered as the "
            "first time.",
            unit="percentunit",
            width=8,
            queries=(Query(share("fluxpay_payments_total", 'outcome="replayed"'), "replayed"),),
        ),
    ),
)
_BOOKS: Final = Row(
    "Whether the books hold",
    (
        Panel(
            title="Imbalance",
            description="Debits minus credits of all books, by currency. Anything but zero cannot "
            "happen by itself: follow the runbook.",
            unit="short",
            width=6,
            height=6,
            kind=Kind.BARS,
            queries=(
                Query(
                    by("currency", f"abs({of('fluxpay_ledger_imbalance_minor')})", how="max"),
                    "{{currency}}",
                ),
            ),
            steps=_NONE_IS_GOOD,
        ),
        Panel(
            title="Findings",
            description="Rows that the last verification found changed or missing.",
            unit="short",
            width=6,
            height=6,
            kind=Kind.STAT,
            queries=(Query(by("", of("fluxpay_verify_findings"), how="max")),),
            steps=_NONE_IS_GOOD,
        ),
        Panel(
            title="Last proof, in intervals",
            description="How many intervals ago the books were last verified to the end. One is an "
            "hour, unless you say otherwise.",
            unit="short",
            width=6,
            height=6,
            kind=Kind.STAT,
            queries=(
                Query(
                    "(time() - "
                    + by("", of("fluxpay_verify_last_success_timestamp_seconds"), how="max")
                    + ") / "
                    + by("", of("fluxpay_verify_interval_seconds"), how="max")
                ),
            ),
            steps=(Step(0, Colour.GOOD), Step(2, Colour.WARN), Step(3, Colour.BAD)),
        ),
        Panel(
            title="Jobs done",
            description="Since each job of the worker last ended well.",
            unit="s",
            width=6,
            height=6,
            kind=Kind.BARS,
            queries=(
                Query(
                    "time() - "
                    + by(_JOB, of("fluxpay_worker_last_success_timestamp_seconds"), how="max"),
                    f"{{{{{_JOB}}}}}",
                ),
            ),
        ),
        Panel(
            title="Not sealed yet",
            description="Transfers behind the last checkpoint, counted up to 10,000. Balances stay "
            "exact; the more there are, the longer it takes to read them.",
            unit="short",
            width=12,
            queries=(
                Query(by("", of("fluxpay_checkpoint_lag_transfers"), how="max"), "transfers"),
            ),
            steps=(Step(0, Colour.GOOD), Step(10_000, Colour.BAD)),
        ),
        Panel(
            title="Oldest event in the outbox",
            description="How long the oldest event waits for the worker to pass it. Seconds are "
            "usual; a transaction that stays open holds it up.",
            unit="s",
            width=12,
            queries=(Query(by("", of("fluxpay_outbox_oldest_age_seconds"), how="max"), "age"),),
            steps=(Step(0, Colour.GOOD), Step(300, Colour.BAD)),
        ),
    ),
)
_WORKER: Final = Row(
    "What the worker does",
    (
        Panel(
            title="Rounds",
            description="Rounds of each job by what came of them. `failed` is tried again, later "
            "and later.",
            unit="ops",
            width=8,
            queries=(
                Query(
                    only(by(f"{_JOB}, result", rate("fluxpay_worker_rounds_total"))),
                    f"{{{{{_JOB}}}}} {{{{result}}}}",
                ),
            ),
        ),
        Panel(
            title="Items",
            description="Authorizations that expired, transfers that were sealed, and what other "
            "jobs count.",
            unit="ops",
            width=8,
            queries=(Query(by(_JOB, rate("fluxpay_worker_items_total")), f"{{{{{_JOB}}}}}"),),
        ),
        Panel(
            title="Round duration",
            description="The longest round of each job, in steps. Most rounds only look whether "
            "there is something to do, and would hide a proof that takes long.",
            unit="s",
            width=8,
            queries=(
                Query(
                    quantile(1, "fluxpay_worker_round_duration_seconds", labels=_JOB),
                    f"{{{{{_JOB}}}}}",
                ),
            ),
        ),
    ),
)

BOARD: Final = Board(
    uid="fluxpay-ledger",
    title="FluxPay / Payments and ledger",
    description="How payments end, how they are committed, and whether the books hold.",
    rows=(_OUTCOMES, _COMMITS, _BOOKS, _WORKER),
)
