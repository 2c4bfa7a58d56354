"""How the tests of the core run; they take no fixtures, so there are none here."""

import pytest
from hypothesis import HealthCheck, settings

# `converse` asserts on behalf of the tests, and should explain itself as they do.
pytest.register_assert_rewrite("tests.core.conversation")

# A shared machine stalls now and then: an example may take as long as it likes, and what bounds a
# run is the number of examples. The blob repeats a failure found on another machine.
settings.register_profile(
    "fluxpay",
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("fluxpay")
