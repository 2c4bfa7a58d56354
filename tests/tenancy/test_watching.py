"""kopf watches and does nothing else: it writes nothing, gives up never and starts no thread."""

import asyncio
import itertools
from typing import Any

import kopf
from kubernetes.aio.client.configuration import Configuration

from fluxpay_operator.sights import Sights
from fluxpay_operator.watching import Hearing, kopf_registry, kopf_settings
from fluxpay_operator.work_queue import WorkQueue


def registry() -> Any:
    made: kopf.OperatorRegistry = kopf_registry(
        Sights(WorkQueue()), Hearing(lambda: 0.0), Configuration()
    )
    return made


def test_no_handler_would_make_kopf_keep_notes_on_a_resource() -> None:
    found = registry()
    for kind in (found._changing, found._spawning, found._indexing, found._webhooks):
        assert [] == list(kind.get_all_handlers())


def test_the_handlers_are_of_raw_events_of_two_kinds_and_wait_for_nothing() -> None:
    handlers = list(registry()._watching.get_all_handlers())
    assert ["secrets", "tenants"] == sorted(
        one.selector.plural or one.selector.any_name for one in handlers
    )
    assert all(asyncio.iscoroutinefunction(one.fn) for one in handlers)


def test_the_settings_let_kopf_read_only() -> None:
    settings = kopf_settings()
    assert not settings.posting.enabled
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert settings.queueing.worker_limit is None


def test_only_our_own_secrets_are_watched() -> None:
    selectors = kopf_settings().watching.label_selectors
    assert "app.kubernetes.io/managed-by=fluxpay-operator" == selectors["secrets"]


def test_a_failing_api_server_is_asked_again_for_ever_and_ever_more_rarely() -> None:
    backoffs: Any = kopf_settings().networking.error_backoffs
    pauses = list(itertools.islice(backoffs, 200))
    assert all(0.25 <= pause <= 10 for pause in pauses)
    assert max(pauses[:2]) < 1.5 < min(pauses[6:])
    assert len(set(pauses)) > 100
