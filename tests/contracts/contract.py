"""The whole contract: importing each chapter gathers its laws, and this module hands them out."""

import pytest

from tests.contracts import (
    batching,
    changing,
    counting,
    listing,
    moving,
    posting,
    racing,
    reading,
    tenancy,
)
from tests.contracts.law import LAWS

CHAPTERS = (posting, batching, changing, racing, moving, reading, listing, counting, tenancy)

EVERY_LAW = pytest.mark.parametrize(
    "law", [pytest.param(law, id=getattr(law, "__name__", "law")) for law in LAWS]
)
