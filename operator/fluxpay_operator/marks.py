"""What is written on a resource beside its spec: our finalizer, and what people ask by annotation.

Knows names and how a value is read. What follows from one is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

FINALIZER: Final = "fluxpay.io/operator"
"""Keeps a deleted resource until the operator has done what its `deletionPolicy` says."""
FORCE_ANNOTATION: Final = "fluxpay.io/force-delete"
"""Set to `true` on a resource that is being deleted, it lets go of it at once.

`kubectl annotate tenant shop fluxpay.io/force-delete=true`. The tenant then stays in FluxPay as it
is, with its keys: for when the service will not come back.
"""
ROTATE_ANNOTATION_PREFIX: Final = "rotate.fluxpay.io/"
"""Rotates one key on demand: the key's name follows the slash, any new value is a new wish.

`kubectl annotate tenant shop rotate.fluxpay.io/till="$(date +%s)" --overwrite`. The wish last
granted stands in `status.keys[].rotationHandled`, so an annotation that stays, or that a GitOps
tool writes again, rotates nothing twice. One that is there when the key is first made is taken
as granted.
"""
ROTATION_WISH_CHARS_MAX: Final = 64
"""What of an annotation's value counts: the rest is cut off before it is compared and kept."""


def rotation_wish(annotations: Mapping[str, str], key_name: str) -> str | None:
    """What was last asked for this key by annotation: any new value is a new wish."""
    wish = annotations.get(f"{ROTATE_ANNOTATION_PREFIX}{key_name}")
    return None if wish is None else wish[:ROTATION_WISH_CHARS_MAX]
