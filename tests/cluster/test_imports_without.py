"""A library is imported without an optional part, and `sys.modules` is as before."""

import subprocess
import sys
from types import ModuleType

import pytest

from tests.patience import PATIENCE
from troth.cluster.connection.imports import without

ABSENT = "troth_tests_absent"
AFTERWARDS = """
import sys
from importlib import import_module
from troth.cluster.connection.library import Configuration
assert not {"kubernetes", "kubernetes.client"} & set(sys.modules)
import kubernetes.client
assert import_module("kubernetes.aio.client.configuration").Configuration is Configuration
assert kubernetes.client.Configuration is not Configuration
"""


def test_module_cannot_be_imported_in_the_body() -> None:
    with without(ABSENT), pytest.raises(ModuleNotFoundError):
        __import__(ABSENT)
    assert ABSENT not in sys.modules


def test_module_stands_in_for_another_one_in_the_body() -> None:
    module = ModuleType(ABSENT)
    with without(ABSENT, instead=module):
        assert __import__(ABSENT) is module
    assert ABSENT not in sys.modules


def test_imported_module_stays() -> None:
    with without("json"):
        assert __import__("json") is sys.modules["json"]


def test_modules_are_as_before_after_a_failure() -> None:
    with pytest.raises(OSError, match="full"), without(ABSENT):
        raise OSError("full")
    assert ABSENT not in sys.modules


def test_synchronous_client_can_be_imported_afterwards() -> None:
    subprocess.run([sys.executable, "-c", AFTERWARDS], check=True, timeout=PATIENCE)
