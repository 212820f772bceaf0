"""The judges: programs of others, skipped if the machine does not have them."""

from __future__ import annotations

import pytest

from sandbox.tools import ensure
from tests.judges.tools import Tool, tool


@pytest.fixture(scope="session")
def openssl() -> Tool:
    return tool("openssl")


@pytest.fixture(scope="session")
def keytool() -> Tool:
    return tool("keytool")


@pytest.fixture(scope="session")
def java() -> Tool:
    found = tool("java")
    _, modules = found("--list-modules")
    if "jdk.compiler" not in modules:
        pytest.skip("java here is without a compiler, so it cannot run the path judge")
    return found


@pytest.fixture(scope="session")
def svid_judge() -> Tool:
    """Return go-spiffe's verdict program, from `sandbox/judge`."""
    return Tool(str(ensure("svid-judge")))
