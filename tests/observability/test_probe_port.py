"""Whatever goes wrong on the port of worker and operator is answered as a problem."""

import asyncio
import json
from collections.abc import Mapping

import pytest

from fluxpay.observability import probes

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


class Well:
    """A process that is alive and ready."""

    def checks(self) -> Mapping[str, str]:
        return {"loop": "ok"}

    def readiness(self) -> Mapping[str, str]:
        raise KeyError("a bug")

    def about(self) -> Mapping[str, str]:
        return {}


async def ask(text: str) -> tuple[int, dict[str, str], bytes]:
    """Send this as it is; gives the status, the headers by lower-case names, and the body."""
    async with probes.answering(
        Well(), lambda _: (b"", "text/plain"), host="127.0.0.1", port=0
    ) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(text.encode("latin-1"))
        async with asyncio.timeout(10):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *fields = head.strip().split("\r\n")
            headers = {
                name.lower(): value for name, _, value in (one.partition(": ") for one in fields)
            }
            body = await reader.readexactly(int(headers["content-length"]))
        writer.close()
        return int(first.split()[1]), headers, body


def get(path: str, *fields: str, method: str = "GET") -> str:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: here", *fields, "", ""])


@pytest.mark.parametrize(
    ("text", "status", "code", "instance"),
    [
        (get("/nothing"), 404, "not_found", "/nothing"),
        (get("/metrics", method="POST"), 405, "method_not_allowed", "/metrics"),
        (get("/metrics", "Expect: the-worst"), 417, "expectation_failed", "/metrics"),
        ("no such thing as http\r\n\r\n", 400, "malformed_request", "/"),
        (get("/health/ready"), 500, "internal_error", "/health/ready"),
    ],
)
async def test_every_error_is_a_problem(text: str, status: int, code: str, instance: str) -> None:
    told, headers, body = await ask(text)
    assert (status, "application/problem+json") == (told, headers["content-type"])
    problem = json.loads(body)
    assert (status, code, f"/problems/{code}", instance) == (
        problem["status"],
        problem["code"],
        problem["type"],
        problem["instance"],
    )
    assert problem["trace_id"] == headers["x-request-id"] == headers["traceparent"].split("-")[1]


async def test_a_method_that_is_not_taken_is_told_which_are() -> None:
    _, headers, _ = await ask(get("/metrics", method="POST"))
    assert "GET, HEAD" == headers["allow"]


async def test_the_trace_and_the_name_of_a_request_come_back() -> None:
    fields = (f"traceparent: {PARENT}", "X-Request-Id: probe-7")
    _, headers, body = await ask(get("/nothing", *fields))
    assert TRACE == json.loads(body)["trace_id"] == headers["traceparent"].split("-")[1]
    assert "probe-7" == headers["x-request-id"]


@pytest.mark.parametrize("path", ["/health/live", "/metrics", "/nothing"])
async def test_no_answer_names_a_version_or_may_be_kept(path: str) -> None:
    _, headers, _ = await ask(get(path))
    assert ("FluxPay", "no-store", "nosniff") == (
        headers["server"],
        headers["cache-control"],
        headers["x-content-type-options"],
    )
