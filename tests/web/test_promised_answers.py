"""What is promised of new payments can be measured from the first failure on."""

from fluxpay.core.problems import PROBLEMS
from fluxpay.web import payments
from fluxpay.web.payment_outcomes import payment_outcomes
from fluxpay.web.routes import PAYMENT_ROUTES
from fluxpay.web.telemetry import Metrics
from tests.observability.exposed import OPENMETRICS, read


def test_an_answer_that_breaks_a_promise_is_shown_before_there_is_one() -> None:
    metrics = Metrics()
    for route in PAYMENT_ROUTES:
        payment_outcomes(metrics)(route, payments.create)
    found = read(metrics.exposition(OPENMETRICS)[0].decode(), is_openmetrics=True)
    requests = found.families["http_server_request_duration_seconds"]
    shown = {
        (sample.labels["http_route"], sample.labels["http_response_status_code"], sample.value)
        for sample in requests.samples
        if sample.name.endswith("_count")
    }
    failures = {str(one.status) for one in PROBLEMS.values() if one.status >= 500}
    assert {("/v1/payments", status, 0) for status in ("201", *failures)} == shown
