"""Proving the books again and again: a job whose round takes as long as the books are large.

Knows when a proof is due, that a thread of its own reads for it, and how both are ended. Must not
know how books are proven (`proof`), nor how one worker of many is chosen (`stores.proofs`).

The reading blocks, as `fluxpay verify` does; the loop goes on beside it. It reads as the service's
role, tenant by tenant, and keeps nothing back but the xmin of one snapshot at a time.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import psycopg2

from fluxpay.observability import logs
from fluxpay.proof import prove
from fluxpay.stores.problems import StoreError
from fluxpay.stores.snapshots import opened
from fluxpay.worker.jobs import Round

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from fluxpay.core.audit import Finding
    from fluxpay.stores.proofs import Proofs
    from fluxpay.stores.snapshots import Reader

LOOK_EVERY_S: Final = 15.0
"""Between two looks whether a proof is due."""
PROOF_SILENCE_S_MAX: Final = 3600.0
"""One question about a large tenant may take long to its first row."""

_SIGN_EVERY_S: Final = 15.0
_LET_GO_S: Final = 5.0
_LOG: Final = logs.logger("fluxpay.worker")


class ProofFailed(StoreError):
    """The books could not be read to their end."""


class _Stopped(Exception):
    """The worker ends, and with it the proof."""


@dataclass(slots=True)
class Proven:
    """What a proof has found so far."""

    tenants: int = 0
    drifted_tenants: int = 0
    findings: int = 0
    first: Finding | None = None


class Proving:
    """Proves the books of all tenants, where no other worker has done so lately.

    Args:
        proofs: Where a proof is claimed, and told of.
        url: The database, as the service's role.
        interval_s: From the end of a proof to the next.
        stop: Set when the worker ends.
        heard: Told that the proof goes on; called from another thread.
    """

    def __init__(
        self,
        proofs: Proofs,
        url: str,
        *,
        interval_s: float,
        stop: asyncio.Event,
        heard: Callable[[], None],
    ) -> None:
        self._proofs = proofs
        self._url = url
        self._interval_s = interval_s
        self._stop = stop
        self._heard = heard

    async def run(self) -> Round:
        """Prove the books if that is due; counts tenants.

        Raises: StoreError, psycopg2.Error.
        """
        claim = await self._proofs.claim(interval_s=self._interval_s)
        if claim is None:
            return Round(0, has_more=False)
        try:
            proven = await self._proven(claim)
        except BaseException:
            # Whoever tries next need not wait until our silence has lasted long enough.
            with suppress(StoreError):
                await self._proofs.give_up(claim)
            raise
        if proven is None:
            await self._proofs.give_up(claim)
            return Round(0, has_more=False)
        await self._proofs.end(claim, findings=proven.findings)
        _tell(proven)
        return Round(proven.tenants, has_more=False)

    async def _proven(self, claim: datetime) -> Proven | None:
        """Let a thread prove, and give signs of life; None when the worker ends before."""
        reading = _Reading(self._url, self._heard)
        proving = _in_a_thread(reading.prove_all)
        stopped = asyncio.ensure_future(self._stop.wait())
        either: list[asyncio.Future[Any]] = [proving, stopped]
        try:
            while not proving.done() and not stopped.done():
                await asyncio.wait(
                    either, timeout=_SIGN_EVERY_S, return_when=asyncio.FIRST_COMPLETED
                )
                with suppress(StoreError):
                    # Silence makes another worker begin; a proof for nothing is the worst of it.
                    await self._proofs.heard(claim)
            if not proving.done():
                reading.stop()
                await asyncio.wait([proving], timeout=_LET_GO_S)
                return None
            return _outcome(proving)
        finally:
            reading.stop()
            stopped.cancel()


class _Reading:
    """A proof under way in a thread; `stop` ends it from any other."""

    def __init__(self, url: str, heard: Callable[[], None]) -> None:
        self._url = url
        self._heard = heard
        self._is_stopped = False
        self._reader: Reader | None = None

    def prove_all(self) -> Proven:
        """Prove all tenants' books, one by one."""
        proven = Proven()
        with opened(self._url) as reader:
            self._reader = reader
            try:
                for tenant_id, has_row in reader.tenants():
                    self._go_on()
                    verified = prove(reader, tenant_id, has_row=has_row, show=self._go_on)
                    proven.tenants += 1
                    proven.findings += verified.drift
                    proven.drifted_tenants += verified.drift > 0
                    shown = (one for outcome in verified.outcomes for one in outcome.shown)
                    proven.first = proven.first or next(shown, None)
            finally:
                self._reader = None
        return proven

    def stop(self) -> None:
        """Go no further; a statement under way is cancelled."""
        self._is_stopped = True
        reader = self._reader
        if reader is not None:
            # It asks the server on a connection of its own, which may take a while.
            threading.Thread(target=_cancel, args=(reader,), name="cancel", daemon=True).start()

    def _go_on(self, _: str = "") -> None:
        if self._is_stopped:
            raise _Stopped
        self._heard()


def _cancel(reader: Reader) -> None:
    with suppress(psycopg2.Error):
        reader.cancel()


def _in_a_thread(prove_all: Callable[[], Proven]) -> asyncio.Future[Proven]:
    """Run it in a thread that the process does not wait for when it ends."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Proven] = loop.create_future()

    def settle(proven: Proven | None, error: Exception | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        elif proven is not None:
            done.set_result(proven)

    def run() -> None:
        proven, failed = None, None
        try:
            proven = prove_all()
        except Exception as error:  # noqa: BLE001 - it is raised where the thread is waited for
            failed = error
        with suppress(RuntimeError):
            # The loop may be closed already, and then nobody waits.
            loop.call_soon_threadsafe(settle, proven, failed)

    threading.Thread(target=run, name="proof", daemon=True).start()
    return done


def _outcome(proving: asyncio.Future[Proven]) -> Proven:
    try:
        return proving.result()
    except (StoreError, psycopg2.Error):
        raise
    except Exception as error:
        # A bug in a check, or a row that it did not expect: sealing must go on all the same.
        _LOG.exception("proof_broken")
        raise ProofFailed(f"the proof broke off ({type(error).__name__})") from error


def _tell(proven: Proven) -> None:
    if proven.first is None:
        return
    _LOG.error(
        "books_do_not_hold",
        findings=proven.findings,
        tenants=proven.tenants,
        drifted_tenants=proven.drifted_tenants,
        first_table=proven.first.table,
        first_id=proven.first.row_id,
        run="fluxpay verify",
    )
