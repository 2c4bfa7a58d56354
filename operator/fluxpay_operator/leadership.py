"""Which of several operators acts: the one that holds the Lease.

Knows one Lease and this process's identity. A holder renews it every few seconds; whoever sees it
unrenewed for its duration, by a clock of its own, takes it over. So clocks need not agree, only
pass at the same rate. A holder that cannot renew stops before anybody may take over. A write names
the version that was read: of two that try, one wins.

Why not the elector of the client library: it waits without a limit for an answer, so a holder
whose network is gone would act on for ever; and it goes by the wall clock.

Source: `coordination.k8s.io/v1` Lease; client-go's package leaderelection for the rule.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fluxpay.observability import errors, logs
from fluxpay_operator.kube import KubeConflict, KubeRefused, KubeUnavailable
from fluxpay_operator.work_queue import spread

if TYPE_CHECKING:
    from fluxpay_operator.kube import Document, Kube

DURATION_S: Final = 15
RENEW_DEADLINE_S: Final = 10.0
RETRY_S: Final = 3.0
_LOG: Final = logs.logger("fluxpay.operator")


def new_identity() -> str:
    """A name for this process that no other has: two containers may share a host name."""
    return f"{socket.gethostname()}_{secrets.token_hex(4)}"


class Leadership:
    """Holds the Lease, or waits for it.

    Args:
        identity: Ours, unique among all that may hold it.
        monotonic_s: A clock that is never set.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        namespace: str,
        name: str,
        identity: str,
        monotonic_s: Callable[[], float],
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._monotonic_s = monotonic_s
        self._seen: tuple[str, float] = ("", 0.0)
        self._renewed_s = float("-inf")
        self.tried_s = monotonic_s()
        self.is_leader = False

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Lead whenever the Lease is ours, until cancelled; then give it back.

        Args:
            lead: Acts until it is cancelled.
        """
        try:
            while True:
                if await self._try():
                    await self._hold(lead)
                await asyncio.sleep(spread(RETRY_S))
        finally:
            await self._give_back()

    async def _hold(self, lead: Callable[[], Awaitable[None]]) -> None:
        self.is_leader = True
        _LOG.info("leading", identity=self._identity)
        acting = asyncio.ensure_future(lead())
        try:
            while not acting.done():
                await asyncio.wait([acting], timeout=spread(RETRY_S))
                left_s = self._renewed_s + RENEW_DEADLINE_S - self._monotonic_s()
                if left_s <= 0 or not await self._renew_within(left_s):
                    _LOG.warning("leading_no_more")
                    return
        finally:
            self.is_leader = False
            acting.cancel()
            # A bug that ended it is ours to raise; being cancelled is what was asked for.
            (outcome,) = await asyncio.gather(acting, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome

    async def _renew_within(self, limit_s: float) -> bool:
        """Renew, trying again as long as there is time."""
        try:
            async with asyncio.timeout(limit_s):
                while not await self._try():
                    if self._is_anothers():
                        return False
                    await asyncio.sleep(spread(1.0))
        except TimeoutError:
            return False
        return True

    async def _try(self) -> bool:
        """Take or renew the Lease; answers whether it is ours."""
        begun_s = self.tried_s = self._monotonic_s()
        try:
            lease = await self._kube.lease(self._namespace, self._name)
            if lease is None:
                await self._kube.create_lease(self._new())
            elif self._may_take(lease):
                await self._kube.replace_lease(self._taken(lease))
            else:
                return False
        except KubeConflict:
            return False
        except (KubeUnavailable, KubeRefused) as error:
            _LOG.warning("lease_untaken", error=errors.told(error))
            return False
        # From before the call: the server may have counted from any instant since.
        self._renewed_s = begun_s
        self._seen = (self._identity, begun_s)
        return True

    def _may_take(self, lease: Document) -> bool:
        spec = lease.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        record = f"{holder} {spec.get('renewTime')}"
        if record != self._seen[0]:
            self._seen = (record, self._monotonic_s())
        if holder in ("", self._identity):
            return True
        lasts_s = float(spec.get("leaseDurationSeconds") or DURATION_S)
        return self._monotonic_s() - self._seen[1] >= lasts_s

    def _is_anothers(self) -> bool:
        holder = self._seen[0].partition(" ")[0]
        return holder not in ("", self._identity)

    def _new(self) -> Document:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"namespace": self._namespace, "name": self._name},
            "spec": self._spec({}),
        }

    def _taken(self, lease: Document) -> Document:
        return {**lease, "spec": self._spec(lease.get("spec") or {})}

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        is_ours = before.get("holderIdentity") == self._identity
        transitions = int(before.get("leaseTransitions") or 0)
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_S,
            "acquireTime": before.get("acquireTime", now) if is_ours else now,
            "renewTime": now,
            "leaseTransitions": transitions if is_ours or not before else transitions + 1,
        }

    async def _give_back(self) -> None:
        """Let the next one begin at once."""
        try:
            lease = await self._kube.lease(self._namespace, self._name)
            if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self._identity:
                return
            spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
            await self._kube.replace_lease({**lease, "spec": spec})
        except (KubeUnavailable, KubeRefused) as error:
            _LOG.warning("lease_not_given_back", error=errors.told(error))
