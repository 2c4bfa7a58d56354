"""A log that nobody reads costs log lines, and no request anything."""

import asyncio
import json
import os
import re
import uuid

import aiohttp

from tests.conftest import Database
from tests.e2e.serving import enroll, serving

REQUESTS = 6000
AT_ONCE = 32


async def test_a_service_whose_log_nobody_reads_answers_all_and_tells_what_was_lost(
    database: Database, redis_url: str
) -> None:
    reading, writing = os.pipe()
    async with serving(database, redis_url, stderr=writing, FLUXPAY_LOG_REQUESTS="1") as service:
        os.close(writing)
        customer = await enroll(service)
        async with aiohttp.ClientSession(headers=customer.headers) as session:

            async def ask() -> list[int]:
                url = f"{service.api_url}/v1/nothing"
                return [(await session.get(url)).status for _ in range(REQUESTS // AT_ONCE)]

            asked = await asyncio.gather(*(ask() for _ in range(AT_ONCE)))
            assert {404} == {status for one in asked for status in one}
            headers = {"Idempotency-Key": uuid.uuid4().hex}
            body = {"amount": 1, "currency": "EUR"}
            url = f"{service.api_url}/v1/payments"
            async with session.post(url, json=body, headers=headers) as answer:
                assert 201 == answer.status
            async with session.get(f"{service.admin_url}/metrics") as page:
                (counted,) = re.findall(
                    r"^fluxpay_log_lines_dropped_total (\S+)$", await page.text(), re.MULTILINE
                )
        log = asyncio.create_task(asyncio.to_thread(read_all, reading))
        assert 0 == await service.stop()
    lines = [json.loads(line) for line in (await log).splitlines()]
    told = [line for line in lines if line["event"] == "lines_dropped"]
    assert {"warning"} == {line["level"] for line in told}
    lost = sum(line["lines"] for line in told)
    assert lost >= float(counted) > 0
    kept = [line["event"] for line in lines if line["event"] != "lines_dropped"]
    assert 0 < lost < REQUESTS
    assert 0 < kept.count("request_answered") < REQUESTS
    # What was asked above, the enrolment's two, the payment; then `draining` and `stopped`.
    assert sum(map(len, asked)) + 3 + 2 == len(kept) + lost
    assert "stopped" == lines[-1]["event"]


def read_all(descriptor: int) -> str:
    with os.fdopen(descriptor, encoding="ascii") as pipe:
        return pipe.read()
