"""Tracebacks in the log: the place of an error, and never a value."""

import subprocess
import sys

import pytest

from troth.serving.logs import LogFormat

FAILING = """
import logging, sys
import structlog
from troth.serving.logs import LogFormat, configure

configure(LogFormat(sys.argv[1]), "debug", direct=sys.argv[2] == "direct")
def issue(password):
    data = {"keystore-password": password}
    raise KeyError("metadata")
try:
    issue("-".join(["correct", "horse", "battery"]))
except KeyError as error:
    structlog.get_logger().error("reconcile failed", exc_info=True)
    structlog.get_logger().error("operator ended", exc_info=error)
    logging.getLogger("asyncio").exception("nobody awaited it")
"""


@pytest.mark.parametrize("way", ["direct", "by the standard library"])
@pytest.mark.parametrize("log_format", LogFormat)
def test_traceback_names_the_place_and_no_value(log_format: LogFormat, way: str) -> None:
    command = [sys.executable, "-c", FAILING, log_format.value, way]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    for told in ("reconcile failed", "operator ended", "nobody awaited it"):
        assert told in log
    assert log.count("KeyError") >= 3
    assert log.count("issue") >= 3
    assert "correct-horse-battery" not in log
