"""Secrets that bind a workload to its tenant: what is in one, whose it is, and what was read.

Knows the manifest and how to tell our own Secrets from anybody else's. Whatever is not certainly
ours is foreign, and is neither written nor deleted. Must not know who calls Kubernetes.

Source: the Service Binding Specification for Kubernetes 1.1, "Provisioned Service" and
"Well-known Secret Entries".
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from fluxpay.core import credentials, ids
from fluxpay.core.ids import IdKind
from fluxpay.core.key_rotation import HeldKey, Holding, MintedKey
from fluxpay_operator.kube import FIELD_MANAGER, Document
from fluxpay_operator.marks import ROTATION_WISH_CHARS_MAX
from fluxpay_operator.spec import GROUP, KIND, VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fluxpay.core.tenants import Environment

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
OPERATOR: Final = "fluxpay-operator"
TENANT_LABEL: Final = "fluxpay.io/tenant"
KEY_LABEL: Final = "fluxpay.io/key"
TENANT_ID_ANNOTATION: Final = "fluxpay.io/tenant-id"
ROTATION_ANNOTATION: Final = "fluxpay.io/rotation-handled"
BINDING_TYPE: Final = "servicebinding.io/fluxpay"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# An id that somebody made up may name an instant that no calendar has.
_NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key is held, and what is to stand beside it.

    Args:
        owner: The tenant's resource; None once it lets go of what it holds.
        tenant_id: Its id in FluxPay.
    """

    namespace: str
    name: str
    owner: OwnerReference | None
    tenant_name: str
    tenant_id: str
    environment: Environment
    key_name: str
    uri: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class OwnerReference:
    """The resource that a Secret goes with."""

    name: str
    uid: str


def manifest(place: Place, *, token: str, key_id: str, rotation_request: str) -> Document:
    """Describe the Secret, for server-side apply."""
    entries = {
        "type": "fluxpay",
        "provider": "fluxpay",
        "uri": place.uri,
        "api-key": token,
        "key-id": key_id,
    }
    annotations = {**place.annotations, TENANT_ID_ANNOTATION: place.tenant_id}
    if rotation_request:
        annotations[ROTATION_ANNOTATION] = rotation_request
    metadata: Document = {
        "namespace": place.namespace,
        "name": place.name,
        "labels": {
            **place.labels,
            MANAGED_BY: OPERATOR,
            TENANT_LABEL: place.tenant_name,
            KEY_LABEL: place.key_name,
        },
        "annotations": annotations,
        "ownerReferences": [] if place.owner is None else [_owner_reference(place.owner)],
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": BINDING_TYPE,
        "metadata": metadata,
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in entries.items()},
    }


def released(secret: Document, place: Place) -> Document:
    """Describe a Secret as it was found, but owned by nobody."""
    wanted = manifest(
        replace(place, owner=None),
        token=entry(secret, "api-key"),
        key_id=entry(secret, "key-id"),
        rotation_request=_annotations(secret).get(ROTATION_ANNOTATION, ""),
    )
    wanted["metadata"]["resourceVersion"] = secret["metadata"]["resourceVersion"]
    return wanted


def read(secret: Document | None, place: Place) -> HeldKey | Holding:
    """Tell what a Secret holds for its clients."""
    if secret is None:
        return Holding.MISSING
    if not is_ours(secret, owner=place.owner, tenant_id=place.tenant_id):
        return Holding.FOREIGN
    token = entry(secret, "api-key")
    prefix, _, _ = token.rpartition("_")
    environment, _, suffix = prefix.removeprefix("fp_").partition("_")
    if not credentials.is_well_formed(token) or environment != place.environment:
        return Holding.BROKEN
    key_id = f"{IdKind.KEY}_{suffix}"
    # Somebody may have edited it; the status takes no more than a wish can have.
    request = _annotations(secret).get(ROTATION_ANNOTATION, "")[:ROTATION_WISH_CHARS_MAX]
    wanted = manifest(place, token=token, key_id=key_id, rotation_request=request)
    return HeldKey(
        id=key_id,
        prefix=prefix,
        digest=credentials.digest(token),
        issued_at=issued_at(suffix),
        rotation_request=request,
        is_tidy=_is_in(secret, wanted),
    )


def mint(environment: Environment, *, uuid: int, entropy: bytes) -> MintedKey:
    """Make a key that nobody has yet.

    Args:
        uuid: A UUIDv7; its instant is when the key was issued.
        entropy: 24 bytes from a cryptographic source.
    """
    key_id = ids.encode(IdKind.KEY, uuid)
    token = credentials.mint(environment, key_id, entropy)
    return MintedKey(
        id=key_id,
        prefix=credentials.shown_prefix(environment, key_id),
        digest=credentials.digest(token),
        issued_at=issued_at(ids.suffix(uuid)),
        token=token,
    )


def issued_at(suffix: str) -> datetime:
    """Read the instant that a key's id was made: its first 48 bits count milliseconds."""
    # Twenty-six digits of five bits hold 130: the two in front are zero.
    first_digits = 10
    value = 0
    for digit in suffix[:first_digits]:
        value = value * 32 + ids.ALPHABET.index(digit)
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return _NEVER


def is_ours(secret: Document, *, owner: OwnerReference | None, tenant_id: str) -> bool:
    """Tell whether a Secret is this tenant's: owned by its resource, or left behind by it.

    One left behind has no owner, and says on itself that we made it and for which tenant.
    """
    references: list[dict[str, Any]] = secret["metadata"].get("ownerReferences") or []
    if owner is not None and any(one["uid"] == owner.uid for one in references):
        return True
    labels: dict[str, str] = secret["metadata"].get("labels") or {}
    return (
        not references
        and labels.get(MANAGED_BY) == OPERATOR
        and _annotations(secret).get(TENANT_ID_ANNOTATION) == tenant_id
    )


def entry(secret: Document, name: str) -> str:
    """Read one entry of a Secret as text; nothing where it is none."""
    try:
        return base64.b64decode((secret.get("data") or {}).get(name, ""), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError):
        return ""


def _annotations(secret: Document) -> dict[str, str]:
    return secret["metadata"].get("annotations") or {}


def _owner_reference(owner: OwnerReference) -> Document:
    # Without blockOwnerDeletion: it would need a right on the finalizers of tenants.
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
    }


def _is_in(secret: Document, wanted: Document) -> bool:
    """Tell whether a Secret has all that it should have, and nothing of ours beside it.

    What others added is theirs.
    """
    metadata, expected = secret["metadata"], wanted["metadata"]
    owners = {one["uid"] for one in metadata.get("ownerReferences") or ()}
    return (
        wanted["data"].items() <= (secret.get("data") or {}).items()
        and expected["labels"].items() <= (metadata.get("labels") or {}).items()
        and expected["annotations"].items() <= _annotations(secret).items()
        and {one["uid"] for one in expected["ownerReferences"]} <= owners
        and _written_by_us(secret, "labels") <= expected["labels"].keys()
        and _written_by_us(secret, "annotations") <= expected["annotations"].keys()
    )


def _written_by_us(secret: Document, kind: str) -> set[str]:
    """The names of the labels or annotations that we applied, and nobody has taken over."""
    written: set[str] = set()
    for one in secret["metadata"].get("managedFields") or ():
        if one.get("manager") == FIELD_MANAGER and one.get("operation") == "Apply":
            fields: dict[str, Any] = (one.get("fieldsV1") or {}).get("f:metadata") or {}
            written |= {name.removeprefix("f:") for name in fields.get(f"f:{kind}") or ()}
    return written - {"."}
