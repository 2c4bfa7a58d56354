"""A reconcile of the operator, from the Tenant to the rows it changes, is one trace."""

from __future__ import annotations

from tests.cluster.kubectl import Kubectl
from tests.cluster.operating import Site, launch_for
from tests.cluster.shop import Shop
from tests.collector import Collector, Received
from tests.conftest import Database
from tests.e2e.serving import serving


async def test_a_reconcile_leads_to_the_requests_it_makes_and_these_to_the_database(
    site: Site, kubectl: Kubectl, database: Database, redis_url: str
) -> None:
    async with Collector() as collector:
        sent_soon = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        async with (
            serving(database, redis_url, **sent_soon) as service,
            launch_for(site, service, **sent_soon).running(),
        ):
            shop = Shop(kubectl, service)
            shop.apply()
            await shop.becomes("Ready")

            def registered(spans: list[Received]) -> list[Received]:
                # Either process sends its own part; the last of each has to be there.
                of_operator = {one.trace_id for one in spans if one.name == "reconcile"}
                of_service = {one.trace_id for one in spans if one.kind == "SERVER"}
                put = [one for one in spans if one.name == "PutTenant tenants"]
                return [one for one in put if one.trace_id in of_operator & of_service]

            spans = await collector.until(registered)
            (row,) = registered(spans)
    trace = [one for one in spans if one.trace_id == row.trace_id]
    by_id = {one.span_id: one for one in trace}
    request = by_id[row.parent_id]
    call = by_id[request.parent_id]
    whole = by_id[call.parent_id]
    assert [
        ("PutTenant tenants", "CLIENT", "fluxpay-api"),
        ("PUT /admin/v1/tenants/{tenant_id}", "SERVER", "fluxpay-api"),
        ("PUT /admin/v1/tenants/{tenant_id}", "CLIENT", "fluxpay-operator"),
        ("reconcile", "INTERNAL", "fluxpay-operator"),
    ] == [(one.name, one.kind, one.resource["service.name"]) for one in (row, request, call, whole)]
    assert {
        "k8s.namespace.name": kubectl.namespace,
        "fluxpay.tenant.name": shop.name,
        "fluxpay.tenant.generation": 1,
        "fluxpay.reconcile.result": "changed",
        "fluxpay.tenant.id": whole.attributes["fluxpay.tenant.id"],
    } == whole.attributes
    tenant_id = whole.attributes["fluxpay.tenant.id"]
    assert f"{service.admin_url}/admin/v1/tenants/{tenant_id}" == call.attributes["url.full"]
    read = next(one for one in trace if one.name == "GET tenants")
    assert read.attributes["url.full"].endswith(f"/{kubectl.namespace}/tenants/{shop.name}")
    assert {"GET tenants", "PATCH tenants", "PATCH tenants/status", "PATCH secrets"} <= {
        one.name for one in trace if one.parent_id == whole.span_id
    }
