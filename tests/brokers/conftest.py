"""Assertions of the contract that every broker passes say what they compared."""

import pytest

pytest.register_assert_rewrite("tests.brokers.contract")
