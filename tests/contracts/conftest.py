"""The laws assert on behalf of two test modules, and should explain themselves as tests do."""

import pytest

pytest.register_assert_rewrite(
    "tests.contracts.changing",
    "tests.contracts.counting",
    "tests.contracts.law",
    "tests.contracts.listing",
    "tests.contracts.moving",
    "tests.contracts.posting",
    "tests.contracts.racing",
    "tests.contracts.tenancy",
)
