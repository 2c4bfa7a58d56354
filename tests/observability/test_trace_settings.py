"""The standard variables of OpenTelemetry: what each gives, and the one line when it is wrong."""

from typing import Any

import pytest

from fluxpay.observability.trace_settings import TraceSettings
from fluxpay.variables import BadSetting

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
AT = {ENDPOINT: "http://collector:4318"}
TRACES = "http://collector:4318/v1/traces"
SECRET = "hunter2"


def read(**variables: str) -> TraceSettings | None:
    return TraceSettings.from_environment(variables, service="fluxpay-api")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {}),
        ({ENDPOINT: "https://collector/otlp/"}, {"endpoint": "https://collector/otlp/v1/traces"}),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://other:1/take"},
            {"endpoint": "http://other:1/take"},
        ),
        ({"OTEL_SERVICE_NAME": "pay"}, {"service": "pay"}),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "service.name=pay, deployment.environment.name=a%2Cb"},
            {
                "service": "pay",
                "attributes": {"service.name": "pay", "deployment.environment.name": "a,b"},
            },
        ),
        (
            {"OTEL_TRACES_SAMPLER": "ParentBased_TraceIdRatio", "OTEL_TRACES_SAMPLER_ARG": ".01"},
            {"sampler": "parentbased_traceidratio", "ratio": 0.01},
        ),
        ({"OTEL_TRACES_SAMPLER": "traceidratio"}, {"sampler": "traceidratio"}),
        (
            {"OTEL_TRACES_SAMPLER": "always_off", "OTEL_TRACES_SAMPLER_ARG": "of no meaning here"},
            {"sampler": "always_off"},
        ),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20x==,x-tenant=7"},
            {"headers": {"Authorization": "Bearer x==", "x-tenant": "7"}},
        ),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"}, {"timeout_s": 2.5}),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, {"compression": "gzip"}),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, {}),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": __file__}, {"certificate_file": __file__}),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "9000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "9000"},
            {"queue_max": 9000, "batch_max": 9000},
        ),
        ({"OTEL_BSP_SCHEDULE_DELAY": "250"}, {"delay_ms": 250}),
        ({"OTEL_SERVICE_NAME": " ", "OTEL_TRACES_SAMPLER": ""}, {}),
    ],
)
def test_each_variable_is_read(variables: dict[str, str], expected: dict[str, Any]) -> None:
    wanted = {"endpoint": TRACES, "service": "fluxpay-api", **expected}
    assert TraceSettings(**wanted) == read(**{**AT, **variables})


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**AT, "OTEL_SDK_DISABLED": "true"},
        {**AT, "OTEL_TRACES_EXPORTER": "none"},
        {ENDPOINT: " ", "OTEL_TRACES_SAMPLER": "always_on"},
    ],
)
def test_no_endpoint_or_a_switch_turns_spans_off(variables: dict[str, str]) -> None:
    assert read(**variables) is None


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({ENDPOINT: "collector:4318"}, f"{ENDPOINT} is no address; write http:// or https://,"),
        ({ENDPOINT: f"http://u:{SECRET}@c:port"}, f"{ENDPOINT} is no address"),
        ({ENDPOINT: "http://"}, f"{ENDPOINT} is no address"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER is 'jaeger_remote'; write"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1%"},
            "OTEL_TRACES_SAMPLER_ARG is '1%'; write a share from 0 to 1, such as 0.01",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
            "OTEL_TRACES_SAMPLER_ARG is 'nan'; write a share",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1.5"},
            "OTEL_TRACES_SAMPLER_ARG is '1.5'; write a share",
        ),
        (
            {"OTEL_TRACES_EXPORTER": "zipkin"},
            "OTEL_TRACES_EXPORTER is 'zipkin'; write otlp or",
        ),
        (
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'; write http/protobuf",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL is 'grpc'",
        ),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": SECRET},
            "OTEL_EXPORTER_OTLP_HEADERS holds a part that is no pair; write name=value,name=value",
        ),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": f"a:b={SECRET}"},
            "OTEL_EXPORTER_OTLP_HEADERS holds a name that no header can have",
        ),
        (
            {"OTEL_EXPORTER_OTLP_HEADERS": f"a={SECRET}%0Ab"},
            "OTEL_EXPORTER_OTLP_HEADERS holds a control character",
        ),
        (
            {"OTEL_EXPORTER_OTLP_TIMEOUT": "10000"},
            "OTEL_EXPORTER_OTLP_TIMEOUT is '10000'; write seconds, from 0.1 to 300",
        ),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "br"}, "OTEL_EXPORTER_OTLP_COMPRESSION is 'br'; write"),
        (
            {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere/ca.pem"},
            "OTEL_EXPORTER_OTLP_CERTIFICATE names '/nowhere/ca.pem': No such file or directory;",
        ),
        (
            {"OTEL_RESOURCE_ATTRIBUTES": "a"},
            "OTEL_RESOURCE_ATTRIBUTES holds a part that is no",
        ),
        ({"OTEL_SDK_DISABLED": "maybe"}, "OTEL_SDK_DISABLED is 'maybe'; write true or false"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "OTEL_BSP_MAX_QUEUE_SIZE is '0'; write a whole number"),
        (
            {"OTEL_BSP_SCHEDULE_DELAY": "1s"},
            "OTEL_BSP_SCHEDULE_DELAY is '1s'; write a whole n",
        ),
        (
            {"OTEL_BSP_EXPORT_TIMEOUT": "-1"},
            "OTEL_BSP_EXPORT_TIMEOUT is '-1'; write a whole n",
        ),
        (
            {"OTEL_BSP_MAX_QUEUE_SIZE": "100"},
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE is 512, more than the 100 that may wait; write no more",
        ),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(variables: dict[str, str], line: str) -> None:
    with pytest.raises(BadSetting) as refused:
        read(**{**AT, **variables})
    text = str(refused.value)
    assert line == text[: len(line)]
    assert 1 == len(text.splitlines())
    assert SECRET not in text


def test_a_bad_value_is_told_even_where_no_spans_are_wanted() -> None:
    with pytest.raises(BadSetting, match="OTEL_TRACES_SAMPLER is 'often'"):
        read(OTEL_TRACES_SAMPLER="often")


def test_nothing_secret_is_in_a_repr_or_in_the_place_that_logs_show() -> None:
    settings = read(
        **{ENDPOINT: f"https://me:{SECRET}@collector:4318/{SECRET}"},
        OTEL_EXPORTER_OTLP_HEADERS=f"authorization={SECRET}",
        OTEL_EXPORTER_OTLP_CLIENT_KEY=__file__,
    )
    assert settings is not None
    assert SECRET not in repr(settings)
    assert "https://collector:4318" == settings.place
