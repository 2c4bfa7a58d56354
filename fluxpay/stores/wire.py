"""aiopg's connection, with its meeting of libpq and the event loop put right.

Knows descriptors, callbacks and how a statement's wait ends. It knows no SQL, no DSN and none of
our exceptions: the driver's own errors leave it untouched.

Three things of aiopg 1.4 are replaced, and nothing else:

- It registers libpq's own descriptor with the loop. libpq closes and replaces that descriptor
  inside `poll()` whenever a connect is refused or a session ends, so the loop is left with a stale
  registration: asyncio then misses the new socket, and uvloop fails the next connection that gets
  the same number. We register a duplicate, which nobody but us can close.
- It looks for a closed descriptor with `select.select`, which fails from descriptor 1024 on, and
  then never wakes the waiter. A duplicate needs no such look.
- It turns a server-side `statement_timeout` into `asyncio.CancelledError`. Here the driver's
  QueryCanceledError reaches the caller, and a CancelledError always is a cancellation.

This is the one subclass of a foreign class in the stores: aiopg's cursor calls back into these
methods of its connection, and offers no other place to correct them.
"""

import asyncio
import os
import select
import weakref
from collections.abc import Mapping
from typing import Any, Self

import aiopg
import psycopg2
from psycopg2 import extensions

from fluxpay.stores.patience import Patience, Watch


class Wire(aiopg.Connection):
    """One libpq connection in non-blocking mode; `established` completes the connect.

    Args:
        parameters: libpq parameters of exactly one server address.
        timeout_s: limit on each wait for the server; 0 is none.
    """

    _fileno: int | None

    def __init__(self, parameters: Mapping[str, Any], *, timeout_s: float) -> None:
        # Each of aiopg's type look-ups would cost a round trip or a registration per connect.
        super().__init__(
            None,
            timeout_s,
            enable_hstore=False,
            enable_json=False,
            enable_uuid=False,
            **parameters,
        )
        self._established = False
        self._reply_watch = Watch(timeout_s)
        if self._fileno is not None:
            self._loop.remove_reader(self._fileno)
            self._fileno = None
        try:
            self._watch()
        except OSError:
            self._conn.close()
            raise

    async def established(self) -> Self:
        """Wait until the session is open; on any failure it is closed."""
        _ = await self  # aiopg hands back the very same object
        return self

    def end(self) -> None:
        """Close the session at once, whatever it is doing."""
        self._close()

    @property
    def lost(self) -> bool:
        """Whether the session is over, from either side."""
        return self._fileno is None or bool(self._conn.closed)

    def has_spoken_unasked(self) -> bool:
        """Whether bytes, or the end of the stream, wait on a connection that asked for nothing.

        It is how a server that went away is seen before the loop has come round to telling us.
        """
        if self._fileno is None:
            return True
        poller = select.poll()  # select.select would fail for descriptors from 1024 on
        poller.register(self._fileno, select.POLLIN)
        return bool(poller.poll(0))

    def _watch(self) -> None:
        """Register a duplicate of the socket that libpq uses at this moment."""
        self._unwatch()
        self._fileno = os.dup(self._conn.fileno())
        self._loop.add_reader(self._fileno, self._ready, self._weakref)

    def _unwatch(self) -> None:
        if self._fileno is None:
            return
        if not self._loop.is_closed():
            self._loop.remove_reader(self._fileno)
            self._loop.remove_writer(self._fileno)
        self._writing = False
        os.close(self._fileno)
        self._fileno = None

    @staticmethod
    def _ready(weak_self: "weakref.ref[Any]") -> None:
        self: Wire | None = weak_self()
        if self is None or self._fileno is None:
            return
        try:
            state = self._conn.poll()
            if not self._established:
                # Any step of a connect may have moved to another socket, of the same number even.
                self._watch()
        except (psycopg2.Warning, psycopg2.Error, OSError) as error:
            self._fail(error)
            return
        if state == extensions.POLL_ERROR:
            self._fail(psycopg2.OperationalError("libpq reported an unspecified poll error"))
            return
        self._want_to_write(wanted=state == extensions.POLL_WRITE)
        if state == extensions.POLL_OK:
            self._established = True
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)

    def _want_to_write(self, *, wanted: bool) -> None:
        if wanted == self._writing or self._fileno is None:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._fileno, self._ready, self._weakref)
        else:
            self._loop.remove_writer(self._fileno)

    def _fail(self, error: Exception) -> None:
        """Hand the error to whoever waits, and close unless the session survives it."""
        self._want_to_write(wanted=False)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(error)
        if not self._established or self._conn.closed:
            # A socket at its end stays readable: left registered, it would spin the loop.
            self._close()

    async def _poll(self, waiter: "asyncio.Future[None]", timeout: float) -> None:  # noqa: ASYNC109 - aiopg's cursor calls it so
        self._ready(self._weakref)
        try:
            if timeout:
                with self._patience(timeout):
                    await waiter
            else:
                await waiter
        except (asyncio.CancelledError, TimeoutError):
            # The reply may still come: this connection can never be told apart from the next
            # statement's answer again. The server notices the closed socket within its
            # client_connection_check_interval. We send no cancel request: it needs a second,
            # blocking connection, at the very moment when connecting may be what is slow, and
            # behind a pooler it may hit another client's statement.
            self._close()
            raise
        finally:
            self._waiter = None

    def _patience(self, timeout_s: float) -> Patience:
        # Connecting has one limit and statements have another; never do two of them wait at once.
        if timeout_s != self._reply_watch.timeout_s:
            self._reply_watch = Watch(timeout_s)
        return Patience(self._reply_watch)

    def _close(self) -> None:
        self._unwatch()
        super()._close()
