"""Every line of the log is one JSON object, and none holds a key."""

import json
import logging
import sys
import warnings

from fluxpay.core.tenants import Environment
from fluxpay_operator import bindings
from fluxpay_operator.logs import JsonLines

TOKEN = bindings.mint(Environment.LIVE, uuid=7 << 76 | 2 << 62, entropy=bytes(24)).token


def line(message: str, *arguments: object, **more: object) -> dict[str, object]:
    logger = logging.getLogger("fluxpay.operator")
    record = logger.makeRecord(
        "fluxpay.operator", logging.INFO, __file__, 1, message, arguments, None, extra=more
    )
    text = JsonLines().format(record)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def test_a_line_says_when_how_bad_who_and_about_whom() -> None:
    told = line("moved %s\nthings", 3, namespace="shops", tenant="one")
    assert {"time", "level", "logger", "message", "namespace", "tenant"} == set(told)
    assert "moved 3\nthings" == told["message"]
    assert str(told["time"]).endswith("+00:00")


def test_a_whole_key_is_cut_to_its_prefix_wherever_it_stands() -> None:
    told = line("a key: %s, and again {%s}", TOKEN, TOKEN)
    prefix = TOKEN.rpartition("_")[0]
    assert f"a key: {prefix}_…, and again {{{prefix}_…}}" == told["message"]


def test_a_traceback_stays_on_its_line_and_shows_no_key() -> None:
    try:
        raise ValueError(TOKEN)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "x", 1, "failed", (), sys.exc_info())
    text = JsonLines().format(record)
    assert "\n" not in text
    assert "ValueError" in json.loads(text)["exception"]
    assert TOKEN not in text


def test_a_warning_of_python_is_a_line_too() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "old" == line(str(caught[0].message))["message"]
