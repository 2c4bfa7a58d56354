"""What the models of a spec have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from fluxpay_operator import rules
from fluxpay_operator.schema_notes import noted


class SpecModel(msgspec.Struct, frozen=True, rename="camel"):
    """Members it does not know are passed over: a newer CRD may run beside an older operator."""


Label = Annotated[str, Meta(min_length=1, max_length=63, extra=noted(rules.LABEL))]
