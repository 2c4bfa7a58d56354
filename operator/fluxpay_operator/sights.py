"""What was seen of tenants and Secrets, and whose turn it is because of that.

Knows the events of the watches, and keeps of each object only what tells one event from the next:
no Secret's content stays here. An event that changes nothing of concern, such as our own write of
a status, asks for nothing. Must not know what a turn does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fluxpay_operator.bindings import TENANT_LABEL
from fluxpay_operator.gathering import tenant_id_of
from fluxpay_operator.kube import names
from fluxpay_operator.marks import FORCE_ANNOTATION, ROTATE_ANNOTATION_PREFIX
from fluxpay_operator.work_queue import Key

if TYPE_CHECKING:
    from fluxpay_operator.work_queue import WorkQueue

GREET_AFTER_S: Final = 1.0
_DELETED: Final = "DELETED"


@dataclass(frozen=True, slots=True)
class _Sight:
    """A tenant's resource, as far as a turn could come out otherwise."""

    uid: str
    generation: int
    is_leaving: bool
    wishes: tuple[tuple[str, str], ...]
    created_at: str
    tenant_id: str


class Sights:
    """What is known of the cluster from its watches.

    Args:
        queue: Whose turn it is.
        greet: Is called for a tenant without a status that is not settled within a moment.
    """

    def __init__(self, queue: WorkQueue) -> None:
        self._queue = queue
        self._tenants: dict[Key, _Sight] = {}
        self._claims: dict[str, set[Key]] = {}
        self._secrets: dict[Key, set[str]] = {}
        self._placed: dict[tuple[str, str], str] = {}
        self._unsettled: dict[Key, asyncio.TimerHandle] = {}
        self.greet: Callable[[Key], None] = lambda _: None

    def tenant(self, kind: str | None, resource: Mapping[str, Any]) -> None:
        """A tenant's resource was seen.

        Args:
            kind: The kind of event; None for an object of a list.
        """
        key = Key(*names(resource))
        if kind == _DELETED:
            self.gone(key)
            self._queue.add(key)
            return
        before = self._forget(key)
        sight = _sight(resource)
        if before is None:
            # One that was met before this one, and is younger, has the tenant no longer.
            self._wake_claimants(sight.tenant_id)
        self._tenants[key] = sight
        self._claims.setdefault(sight.tenant_id, set()).add(key)
        if sight == before:
            return
        if not resource.get("status") and key not in self._unsettled:
            self._unsettled[key] = self._greeting(key)
        self._queue.add(key)

    def gone(self, key: Key) -> None:
        """A tenant's resource is not there; a watch that was cut off may never have told."""
        self.settled(key)
        before = self._forget(key)
        if before is not None:
            self._wake_claimants(before.tenant_id)

    def secret(self, kind: str | None, secret: Mapping[str, Any]) -> None:
        """A Secret of ours was seen, or one that was ours until just now."""
        namespace, name = names(secret)
        metadata = secret["metadata"]
        # A Secret that was ours until now may have lost its labels; its owner it still has.
        owners = [one["name"] for one in metadata.get("ownerReferences") or ()]
        labels: dict[str, str] = metadata.get("labels") or {}
        key = Key(namespace, owners[0] if owners else labels.get(TENANT_LABEL, ""))
        version = metadata["resourceVersion"]
        if kind == _DELETED:
            self._secrets.get(key, set()).discard(name)
            self._placed.pop((namespace, name), None)
        else:
            self._secrets.setdefault(key, set()).add(name)
            if self._placed.get((namespace, name)) == version:
                return
            self._placed[namespace, name] = version
        if key in self._tenants:
            self._queue.add(key)

    def placed(self, secret: Mapping[str, Any]) -> None:
        """We have written a Secret ourselves: the event about that is no news."""
        self._placed[names(secret)] = secret["metadata"]["resourceVersion"]

    def secrets_of(self, key: Key) -> frozenset[str]:
        """The names of all Secrets that go with a tenant."""
        return frozenset(self._secrets.get(key, ()))

    def is_claimed_elsewhere(self, key: Key) -> bool:
        """Whether an older resource describes the same tenant."""
        mine = self._tenants.get(key)
        if mine is None:
            return False
        return any(
            (self._tenants[other].created_at, other) < (mine.created_at, key)
            for other in self._claims[mine.tenant_id]
            if other != key
        )

    def is_unsettled(self, key: Key) -> bool:
        """Whether a tenant was seen without a status, and has had none told since."""
        return key in self._unsettled

    def settled(self, key: Key) -> None:
        """A turn has ended with a status."""
        timer = self._unsettled.pop(key, None)
        if timer is not None:
            timer.cancel()

    def ask_for_all(self) -> None:
        """Give everybody a turn."""
        for key in self._tenants:
            self._queue.add(key)
        for key, timer in list(self._unsettled.items()):
            timer.cancel()
            self._unsettled[key] = self._greeting(key)

    def _forget(self, key: Key) -> _Sight | None:
        before = self._tenants.pop(key, None)
        if before is not None:
            self._claims[before.tenant_id].discard(key)
            if not self._claims[before.tenant_id]:
                del self._claims[before.tenant_id]
        return before

    def _greeting(self, key: Key) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(GREET_AFTER_S, self._greet, key)

    def _greet(self, key: Key) -> None:
        self.greet(key)

    def _wake_claimants(self, tenant_id: str) -> None:
        for key in self._claims.get(tenant_id, ()):
            self._queue.add(key)


def _sight(resource: Mapping[str, Any]) -> _Sight:
    metadata = resource["metadata"]
    annotations: dict[str, str] = metadata.get("annotations") or {}
    return _Sight(
        uid=metadata["uid"],
        generation=metadata["generation"],
        is_leaving="deletionTimestamp" in metadata,
        wishes=tuple(
            sorted(
                (name, text)
                for name, text in annotations.items()
                if name == FORCE_ANNOTATION or name.startswith(ROTATE_ANNOTATION_PREFIX)
            )
        ),
        created_at=metadata["creationTimestamp"],
        tenant_id=tenant_id_of(resource),
    )
