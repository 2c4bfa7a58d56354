"""Gather what a tenant should be and what it is, in the core's words.

Knows the resource, its Secrets and the admin API, and reads only. Must not know what follows.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from uuid_utils import uuid7

from fluxpay.core import credentials, ids
from fluxpay.core.fraud import PaymentLimit
from fluxpay.core.ids import IdKind
from fluxpay.core.key_rotation import KeyPolicy, MintedKey
from fluxpay.core.limits import Quota
from fluxpay.core.tenants import (
    DesiredTenant,
    Leaving,
    ObservedTenant,
    TenantSpec,
    TenantState,
)
from fluxpay_operator import bindings
from fluxpay_operator.bindings import OwnerReference, Place
from fluxpay_operator.key_specs import KeySpec
from fluxpay_operator.marks import rotation_wish
from fluxpay_operator.spec import DeletionPolicy, Spec
from fluxpay_operator.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fluxpay_operator.admin_client import AdminClient
    from fluxpay_operator.kube import Document, Kube

_SECRETS_AT_ONCE: Final = 16


@dataclass(frozen=True, slots=True)
class Gathered:
    """All that a plan needs, and what carrying it out needs beside it.

    Args:
        places: Where each key is held, by its name.
        found: The Secrets that were found, by name.
    """

    desired: DesiredTenant
    observed: ObservedTenant
    minted: Mapping[str, MintedKey]
    places: Mapping[str, Place]
    found: Mapping[str, Document]


def tenant_id_of(resource: Mapping[str, Any]) -> str:
    """The id of a resource's tenant: the one it adopts, or one that follows from its own identity.

    So no step of a registration has to be remembered.
    """
    adopted: str | None = resource["spec"].get("tenantID")
    return adopted or ids.encode(IdKind.TENANT, UUID(resource["metadata"]["uid"]).int)


def desired_tenant(
    resource: Document, spec: Spec, status: Status, *, is_claimed_elsewhere: bool
) -> DesiredTenant:
    """Put a resource into the core's words."""
    metadata = resource["metadata"]
    annotations = metadata.get("annotations") or {}
    leaving = None
    if "deletionTimestamp" in metadata:
        closes = spec.deletion_policy is DeletionPolicy.DELETE
        leaving = Leaving.CLOSE if closes else Leaving.RETAIN
    wishes = {one.name: rotation_wish(annotations, one.name) or "" for one in spec.api_keys}
    return DesiredTenant(
        id=tenant_id_of(resource),
        spec=_tenant_spec(spec, generation=metadata["generation"]),
        keys=tuple(_policy(one) for one in spec.api_keys),
        rotation_requests=wishes,
        generation_base=status.generation_base,
        leaving=leaving,
        is_claimed_elsewhere=is_claimed_elsewhere,
    )


def places(resource: Document, spec: Spec, *, tenant_id: str, uri: str) -> dict[str, Place]:
    """Where each key of a tenant is held."""
    metadata, template = resource["metadata"], spec.secret_template
    stem = (template.name if template is not None else None) or metadata["name"]
    return {
        one.name: Place(
            namespace=metadata["namespace"],
            name=f"{stem}-{one.name}",
            owner=OwnerReference(metadata["name"], metadata["uid"]),
            tenant_name=metadata["name"],
            tenant_id=tenant_id,
            environment=spec.environment,
            key_name=one.name,
            uri=uri,
            labels=template.labels if template is not None else {},
            annotations=template.annotations if template is not None else {},
        )
        for one in spec.api_keys
    }


async def gather(
    desired: DesiredTenant,
    where: Mapping[str, Place],
    known: Iterable[str],
    *,
    namespace: str,
    owner: OwnerReference,
    kube: Kube,
    admin: AdminClient,
) -> Gathered:
    """Read what there is.

    Args:
        where: Where each key is to be held.
        known: Names of Secrets that this tenant was ever seen with.

    Raises: KubeUnavailable, KubeRefused, AdminUnavailable, AdminNotAdmitted, AdminRefused.
    """
    wanted = {place.name for place in where.values()}
    names = sorted(wanted | set(known))
    found = await _secrets(kube, namespace, names)
    is_asked_for = desired.leaving is not Leaving.RETAIN
    tenant = await admin.tenant(desired.id) if is_asked_for else None
    keys = await admin.keys(desired.id) if tenant is not None else ()
    held = {name: bindings.read(found.get(place.name), place) for name, place in where.items()}
    strays = [
        name
        for name in names
        if (name not in wanted or desired.leaving is Leaving.CLOSE)
        and name in found
        and bindings.is_ours(found[name], owner=owner, tenant_id=desired.id)
    ]
    return Gathered(
        desired=desired,
        observed=ObservedTenant(tenant=tenant, keys=keys, held=held, strays=tuple(strays)),
        minted={policy.name: _minted(desired) for policy in desired.keys},
        places=where,
        found=found,
    )


async def _secrets(kube: Kube, namespace: str, names: list[str]) -> dict[str, Document]:
    at_once = asyncio.Semaphore(_SECRETS_AT_ONCE)

    async def read(name: str) -> Document | None:
        async with at_once:
            return await kube.secret(namespace, name)

    read_all = await asyncio.gather(*(read(name) for name in names))
    return {name: one for name, one in zip(names, read_all, strict=True) if one is not None}


def _minted(desired: DesiredTenant) -> MintedKey:
    entropy = secrets.token_bytes(credentials.SECRET_ENTROPY_BYTES)
    return bindings.mint(desired.spec.environment, uuid=uuid7().int, entropy=entropy)


def _tenant_spec(spec: Spec, *, generation: int) -> TenantSpec:
    return TenantSpec(
        generation=generation,
        display_name=spec.display_name,
        environment=spec.environment,
        state=TenantState(spec.state),
        currencies=tuple(spec.currencies),
        rate_limits=tuple(
            Quota(
                name=one.name,
                requests=one.requests,
                window_s=one.window.seconds,
                burst=one.burst,
                route=one.route,
            )
            for one in spec.rate_limits
        ),
        payment_limits=tuple(
            PaymentLimit(
                currency=one.currency,
                max_amount_minor=one.max_amount,
                daily_volume_minor=one.daily_volume,
                velocity_count=one.velocity.count if one.velocity else None,
                velocity_window_s=one.velocity.window.seconds if one.velocity else None,
            )
            for one in spec.payment_limits
        ),
    )


def _policy(key: KeySpec) -> KeyPolicy:
    interval = key.rotation.interval
    return KeyPolicy(
        name=key.name,
        scopes=frozenset(key.scopes),
        # As the service writes them, so that the same networks are no change.
        allowed_cidrs=tuple(str(ip_network(one, strict=False)) for one in key.allowed_cidrs),
        expires_after=None if key.expires_after is None else key.expires_after.delta,
        rotates_every=None if interval is None else interval.delta,
        overlap=key.rotation.overlap.delta,
    )
