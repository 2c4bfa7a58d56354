"""The way out for log lines: a bounded queue, and one thread that writes it to stderr.

Whoever logs never waits for whoever reads. A pipe that nobody empties, a full disk or a stopped
terminal keeps the thread waiting and nobody else; what finds no room in the queue is dropped and
counted, and the count is told as soon as lines get through again. At the end of the process the
queue is given a moment to empty.

Knows bytes and a file descriptor. Must not know what a line says.
"""

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from typing import Final

QUEUE_BYTES_MAX: Final = 1_048_576
"""Some thousand lines: a burst, and not the log of an outage."""
FLUSH_S_MAX: Final = 2.0
# After a write the thread lets lines gather: each time it wakes it takes the interpreter from
# whoever serves, which on a busy service costs as much as the lines themselves.
_GATHER_S: Final = 0.02


class Outlet(logging.Handler):
    """Writes each record as one line, later.

    Args:
        descriptor: Where to; it stays open.
        failure: Gives the line that stands for one that cannot be formatted.
        dropped: Gives the line that tells how many were dropped.
        bytes_max: How much may wait.
    """

    def __init__(
        self,
        descriptor: int,
        *,
        failure: Callable[[logging.LogRecord, Exception], str],
        dropped: Callable[[int], str],
        bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._failure = failure
        self._tell_dropped = dropped
        self._bytes_max = bytes_max
        self._changed = threading.Condition()
        self._lines: list[bytes] = []
        self._waiting_bytes = 0
        self._is_writing = False
        self._is_idle = False
        self._is_closed = False
        self._untold = 0
        self.dropped = 0
        threading.Thread(target=self._write_all, name="log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format a record here, where its context is, and queue its line."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a log line must not fail what it tells of
            line = self._failure(record, error)
        self._queue(line)

    def flush(self) -> None:
        """Wait until all is written, for a moment at most."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._lines and not self._is_writing, timeout=FLUSH_S_MAX
            )

    def close(self) -> None:
        """Write what is there, and end the thread."""
        self.flush()
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        super().close()

    def _queue(self, line: str) -> None:
        data = line.encode("ascii", "backslashreplace") + b"\n"
        with self._changed:
            if self._waiting_bytes + len(data) > self._bytes_max:
                self.dropped += 1
                self._untold += 1
                return
            self._lines.append(data)
            self._waiting_bytes += len(data)
            if self._is_idle:
                self._is_idle = False
                self._changed.notify_all()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._is_writing = False
                self._changed.notify_all()
                while not self._lines and not self._is_closed:
                    self._is_idle = True
                    self._changed.wait()
                if not self._lines:
                    return
                taken, self._lines = self._lines, []
                self._is_writing = True
            lost = self._write(taken)
            with self._changed:
                self._waiting_bytes -= sum(map(len, taken))
                self.dropped += lost
                self._untold += lost
                untold, self._untold = self._untold, 0
            if untold and self._write([f"{self._tell_dropped(untold)}\n".encode("ascii")]):
                with self._changed:
                    self._untold += untold
            time.sleep(_GATHER_S)

    def _write(self, lines: list[bytes]) -> int:
        """Write lines; gives how many of them nobody can take: stderr is closed."""
        data = memoryview(b"".join(lines))
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                # Whoever shares the descriptor has made it so; this thread may wait.
                select.select((), (self._descriptor,), ())
            except OSError:
                return len(lines)
        return 0
