"""How the tests of the core run; they take no fixtures, so there are none here."""

import pytest

# `converse` asserts on behalf of the tests, and should explain itself as they do.
pytest.register_assert_rewrite("tests.core.conversation")
