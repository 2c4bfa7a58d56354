"""The file that tells where to report a weakness, as RFC 9116 wants it."""

from datetime import UTC, datetime, timedelta

from fluxpay.core.problems import Code
from tests.web.conftest import Launch
from tests.web.service import Service
from tests.web.test_chain import assert_problem
from tests.web.test_openapi import check

PATH = "/.well-known/security.txt"
NO_KEY = {"Authorization": ""}


async def test_the_file_names_the_contact_and_is_valid_for_a_while(launch: Launch) -> None:
    service = await launch(security_contact="mailto:security@example.com")
    answer = await service.call("GET", PATH, headers=NO_KEY)
    assert (200, "text/plain; charset=utf-8") == (answer.status, answer.headers["Content-Type"])
    fields = dict(line.split(": ", 1) for line in answer.body.decode().splitlines())
    expires = datetime.fromisoformat(fields.pop("Expires"))
    assert {"Contact": "mailto:security@example.com", "Preferred-Languages": "en"} == fields
    # The RFC advises less than a year.
    now = datetime.now(UTC)
    assert now < expires < now + timedelta(days=365)
    check(answer, "GET", PATH)


async def test_without_a_contact_there_is_no_file(service: Service) -> None:
    answer = await service.call("GET", PATH, headers=NO_KEY)
    assert_problem(Code.NOT_FOUND, answer, instance=PATH)
    check(answer, "GET", PATH)
