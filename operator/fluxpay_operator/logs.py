"""One JSON object a line on stderr, for everything that logs in this process: kopf as well.

Knows which members a line may have. A line never holds a key or a token: nothing that holds one is
given to a logger, and as a second guard every text that looks like a whole key is cut to its
prefix. Must not know what is logged.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Final

_KEY: Final = re.compile(r"(fp_(?:live|test)_[0-9a-z]{26})_[0-9A-Za-z]{39}")
_MEMBERS: Final = ("namespace", "tenant")
_CHARS_MAX: Final = 4000


class JsonLines(logging.Formatter):
    """Writes a record as one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write time, level, logger and message; whom it is about, and a traceback, if any."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": _safe(record.getMessage()),
        }
        for name in _MEMBERS:
            about = getattr(record, name, None)
            if about is not None:
                line[name] = about
        if record.exc_info is not None:
            line["exception"] = _safe(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def set_up(level: str) -> None:
    """Send all that is logged to stderr; of kopf only what is worth a person's time."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # It warns of what then ends the process with a line of its own.
    logging.getLogger("kubernetes").setLevel(logging.ERROR)
    if level != "DEBUG":
        # It tells each request that is tried again as an error, and each start in six lines.
        logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelName(level)))


def _safe(text: str) -> str:
    return _KEY.sub(r"\1_…", text)[:_CHARS_MAX]
