"""The whole contract: importing each chapter gathers its laws, and this module hands them out."""

import pytest

from tests.contracts import counting, listing, posting, tenancy
from tests.contracts.law import LAWS

CHAPTERS = (posting, listing, counting, tenancy)

EVERY_LAW = pytest.mark.parametrize(
    "law", [pytest.param(law, id=getattr(law, "__name__", "law")) for law in LAWS]
)
