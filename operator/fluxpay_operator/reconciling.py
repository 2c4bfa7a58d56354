"""Reconcile one tenant: gather, plan, carry out, tell. The one way in for whatever happened.

Nothing is assumed about why it runs: a creation, a change, a deletion, a start of the operator and
the clock all lead here, and find out from what there is. What is as it should be is not written.
Must not know what calls it, nor when again but for the answer it gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from structlog.contextvars import bound_contextvars

from fluxpay.core.tenants import PutSpec, TenantState, plan
from fluxpay.observability import errors, logs
from fluxpay.observability.work import Work, working
from fluxpay_operator import gathering, reports
from fluxpay_operator.admin_client import AdminNotAdmitted, AdminRefused, AdminUnavailable
from fluxpay_operator.bindings import OwnerReference
from fluxpay_operator.carrying_out import Hands, News, SecretTaken
from fluxpay_operator.conditions import UNDER_WAY, Standing, Trouble
from fluxpay_operator.kube import KubeConflict, KubeRefused, KubeUnavailable
from fluxpay_operator.marks import FINALIZER, FORCE_ANNOTATION
from fluxpay_operator.reports import Report
from fluxpay_operator.spec import InvalidSpec, parse_spec
from fluxpay_operator.telling import Teller
from fluxpay_operator.work_queue import Again, Key, spread

if TYPE_CHECKING:
    from fluxpay.core.tenants import DesiredTenant, TenantPlan
    from fluxpay_operator.admin_client import AdminClient
    from fluxpay_operator.bindings import Place
    from fluxpay_operator.gathering import Gathered
    from fluxpay_operator.kube import Document, Kube
    from fluxpay_operator.metrics import Metrics
    from fluxpay_operator.sights import Sights

_LOG: Final = logs.logger("fluxpay.operator")
# A token that is not admitted is one for all tenants: a thousand of them must not ask at once.
_NOT_ADMITTED_S: Final = 120.0
_DUE_S_MIN: Final = 1.0
_WEBHOOKS_WAIT: Final = News(
    "WebhooksWait",
    "spec.webhooks is kept for a release that delivers webhooks; this one delivers none.",
    is_warning=True,
)
# From here on a deletion that does not come about is told as a trouble of its own.
DELETION_TRIES: Final = 4


@dataclass(slots=True)
class _Turn:
    """One tenant, once: what was read, and what came of it so far."""

    key: Key
    resource: Document
    work: Work
    news: list[News] = field(default_factory=list)
    has_changed: bool = False


@dataclass(slots=True)
class _Attempt:
    """How far gathering, planning and carrying out went, and what ended it, if anything did.

    Args:
        is_put: Whether FluxPay has the spec.
    """

    gathered: Gathered | None = None
    planned: TenantPlan | None = None
    is_put: bool = False
    trouble: Trouble | None = None
    retry_after_s: float = 0.0


class Reconciler:
    """Reconciles tenants, one call each; calls for different tenants may run side by side."""

    def __init__(
        self,
        kube: Kube,
        admin: AdminClient,
        *,
        sights: Sights,
        metrics: Metrics,
        api_url: str,
        resync_s: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kube = kube
        self._admin = admin
        self._sights = sights
        self._metrics = metrics
        self._api_url = api_url
        self._resync_s = resync_s
        self._now = now
        self._teller = Teller(kube, metrics, now=now)

    async def reconcile(self, key: Key, failures: int) -> Again | None:
        """Make a tenant what its resource says.

        Args:
            failures: How often in a row it could not be done.
        """
        with (
            bound_contextvars(**key.members),
            self._metrics.timed(),
            working("reconcile") as work,
        ):
            work.attributes["k8s.namespace.name"] = key.namespace
            work.attributes["fluxpay.tenant.name"] = key.name
            try:
                result, again = await self._reconcile(key, failures, work)
            except KubeUnavailable as error:
                _LOG.warning("kubernetes_unavailable", error=errors.told(error))
                work.failed(error)
                result, again = "retried", Again(failed=True)
            except KubeConflict:
                # Somebody wrote at the same moment: look again, soon.
                result, again = "retried", Again(failed=True)
            except KubeRefused as error:
                _LOG.error("kubernetes_refused", error=errors.told(error))
                work.failed(error)
                result, again = "refused", Again(after_s=spread(self._resync_s), failed=True)
            except Exception:
                self._metrics.reconciled("failed")
                raise
            work.attributes["fluxpay.reconcile.result"] = result
        self._metrics.reconciled(result)
        return again

    async def greet(self, key: Key) -> None:
        """Tell of a tenant that its first reconciliation takes longer than a moment."""
        try:
            resource = await self._kube.tenant(key.namespace, key.name)
            if resource is None or resource.get("status") or not self._sights.is_unsettled(key):
                return
            report = Report(reports.nothing_known(resource, UNDER_WAY))
            await self._teller.tell(resource, report, only_as_read=True)
        except KubeConflict:
            # It was reconciled meanwhile, which tells more.
            return
        except (KubeUnavailable, KubeRefused) as error:
            _LOG.warning("greeting_untold", error=errors.told(error), **key.members)

    async def _reconcile(self, key: Key, failures: int, work: Work) -> tuple[str, Again | None]:
        resource = await self._kube.tenant(key.namespace, key.name)
        if resource is None:
            self._sights.gone(key)
            self._teller.forget(key)
            return "gone", None
        work.attributes["fluxpay.tenant.generation"] = resource["metadata"]["generation"]
        is_leaving = "deletionTimestamp" in resource["metadata"]
        finalizers: list[str] = resource["metadata"].get("finalizers") or []
        if is_leaving and FINALIZER not in finalizers:
            return "gone", None
        turn = _Turn(key, resource, work)
        if is_leaving and _is_forced(resource):
            turn.news.append(News("DeletionForced", "It is let go of as it is.", is_warning=True))
            return await self._let_go(turn)
        if not is_leaving and FINALIZER not in finalizers:
            changed = await self._kube.set_finalizers(resource, [*finalizers, FINALIZER])
            if changed is None:
                return "gone", None
            turn.resource, turn.has_changed = changed, True
        return await self._bring_about(turn, failures)

    async def _bring_about(self, turn: _Turn, failures: int) -> tuple[str, Again | None]:
        spec = parse_spec(turn.resource["spec"])
        if isinstance(spec, InvalidSpec):
            if "deletionTimestamp" in turn.resource["metadata"]:
                return await self._let_go(turn)
            invalid = Trouble("InvalidSpec", f"{spec.detail}: correct it.", stalls=True)
            report = Report(reports.nothing_known(turn.resource, invalid))
            return await self._end(turn, report, failures)
        previous = reports.status_of(turn.resource)
        generation = turn.resource["metadata"]["generation"]
        desired = gathering.desired_tenant(
            turn.resource,
            spec,
            previous,
            is_claimed_elsewhere=self._sights.is_claimed_elsewhere(turn.key),
        )
        turn.work.tenant_id = desired.id
        where = gathering.places(turn.resource, spec, tenant_id=desired.id, uri=self._api_url)
        attempt = await self._attempt(turn, desired, where)
        if desired.leaving is not None and attempt.trouble is None:
            return await self._let_go(turn)
        is_first_done = attempt.trouble is None and previous.observed_generation != generation
        if spec.webhooks and is_first_done:
            turn.news.append(_WEBHOOKS_WAIT)
        report = Report(
            Standing(
                generation=generation,
                has_quota=None,
                has_keys=None,
                keys_wanted=len(desired.keys),
                is_suspended=desired.spec.state is TenantState.SUSPENDED,
            ),
            tenant_id=desired.id,
        )
        report = reports.reported(
            report, attempt.planned, attempt.gathered, attempt.trouble, is_put=attempt.is_put
        )
        return await self._end(
            turn,
            report,
            failures,
            is_leaving=desired.leaving is not None,
            retry_after_s=attempt.retry_after_s,
        )

    async def _attempt(
        self, turn: _Turn, desired: DesiredTenant, where: dict[str, Place]
    ) -> _Attempt:
        """Gather, plan and carry out, as far as it goes."""
        attempt, hands = _Attempt(), self._hands(turn)
        try:
            gathered = attempt.gathered = await gathering.gather(
                desired,
                where,
                self._sights.secrets_of(turn.key),
                namespace=turn.key.namespace,
                owner=OwnerReference(turn.key.name, turn.resource["metadata"]["uid"]),
                kube=self._kube,
                admin=self._admin,
            )
            planned = attempt.planned = plan(
                desired, gathered.observed, minted=gathered.minted, now=self._now()
            )
            turn.has_changed |= bool(planned.actions)
            attempt.is_put = desired.leaving is None and not any(
                isinstance(one, PutSpec) for one in planned.actions
            )
            await hands.carry_out(planned, gathered)
        except AdminUnavailable as error:
            attempt.trouble = reports.unavailable(error)
            attempt.retry_after_s = error.retry_after_s
        except AdminNotAdmitted as error:
            attempt.trouble = reports.not_admitted(error)
            attempt.retry_after_s = spread(_NOT_ADMITTED_S)
        except AdminRefused as error:
            attempt.trouble = reports.refused(error.code, str(error))
        except SecretTaken as error:
            attempt.trouble = reports.secret_taken(str(error))
        except KubeConflict:
            raise
        except KubeRefused as error:
            attempt.trouble = reports.forbidden(error)
        attempt.is_put |= hands.has_put_spec
        return attempt

    async def _end(
        self,
        turn: _Turn,
        report: Report,
        failures: int,
        *,
        is_leaving: bool = False,
        retry_after_s: float = 0.0,
    ) -> tuple[str, Again]:
        """Tell how things stand, and say when to look again."""
        trouble = report.standing.trouble
        is_blocked = is_leaving and trouble is not None and failures >= DELETION_TRIES
        if is_blocked:
            report = reports.deletion_blocked(report, turn.key.name)
        turn.has_changed |= await self._teller.tell(turn.resource, report, turn.news)
        resync_s = spread(self._resync_s)
        self._sights.settled(turn.key)
        if trouble is None:
            result = "changed" if turn.has_changed else "unchanged"
            return result, Again(after_s=min(resync_s, self._until(report.due_at)))
        _LOG.warning("tenant_troubled", reason=trouble.reason, message=trouble.message)
        turn.work.is_error = True
        turn.work.attributes["error.type"] = trouble.reason
        if trouble.stalls or is_blocked:
            return "stalled", Again(after_s=resync_s, failed=is_leaving)
        return "retried", Again(after_s=retry_after_s, failed=True)

    async def _let_go(self, turn: _Turn) -> tuple[str, None]:
        """Take our finalizer off: Kubernetes then deletes the resource."""
        kept = [one for one in turn.resource["metadata"]["finalizers"] if one != FINALIZER]
        await self._teller.post(turn.resource, turn.news)
        await self._kube.set_finalizers(turn.resource, kept)
        self._teller.forget(turn.key)
        return "deleted", None

    def _hands(self, turn: _Turn) -> Hands:
        return Hands(self._kube, self._admin, placed=self._sights.placed, tell=turn.news.append)

    def _until(self, due_at: datetime | None) -> float:
        if due_at is None:
            return float("inf")
        return max(_DUE_S_MIN, (due_at - self._now()).total_seconds())


def _is_forced(resource: Document) -> bool:
    annotations: dict[str, str] = resource["metadata"].get("annotations") or {}
    return annotations.get(FORCE_ANNOTATION) == "true"
