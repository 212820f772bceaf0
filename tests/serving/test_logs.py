"""Tracebacks in the log: the place of an error, and never a value."""

import json
import os
import re
import select
import subprocess
import sys
import time

import pytest

from troth.serving.logs import LogFormat, _parts

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


BACKGROUND = """
import asyncio, logging, sys
from troth.serving.logs import LogFormat, configure

configure(LogFormat(sys.argv[1]), "debug", direct=sys.argv[2] == "direct")
SECRET = "-".join(["correct", "horse", "battery"])

class Held:
    def __repr__(self):
        return SECRET

async def fetch():
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        raise KeyError(SECRET) from error

def called_back(held):
    raise OSError(SECRET)

async def main():
    asyncio.create_task(fetch())
    asyncio.get_running_loop().call_soon(called_back, Held())
    await asyncio.sleep(0.01)
    kopf = logging.getLogger("kopf.activities.startup")
    try:
        await fetch()
    except KeyError as error:
        kopf.exception(f"Stop-flag checker has failed: {error}")
        kopf.exception(f"Throttling for 1 seconds due to an unexpected error: {error!r}")
        kopf.error("one of several", exc_info=ExceptionGroup(SECRET, [error, ValueError(SECRET)]))
        kopf.error("%d", SECRET)

asyncio.run(main())
"""


@pytest.mark.parametrize("way", ["direct", "by the standard library"])
@pytest.mark.parametrize("log_format", LogFormat)
def test_no_line_of_a_library_has_the_text_of_an_exception(log_format: LogFormat, way: str) -> None:
    command = [sys.executable, "-c", BACKGROUND, log_format.value, way]
    log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "correct-horse-battery" not in log
    for told in (
        "Task exception was never retrieved",
        "Exception in callback called_back",
        "Stop-flag checker has failed: KeyError",
        "due to an unexpected error: KeyError",
        "one of several",
    ):
        assert told in log
    assert "OSError" in log
    assert re.search(r"ValueError in <string>:\d+", log)
    assert re.search(r"coroutine.{1,20}fetch", log)
    assert re.search(r"<string>:\d+ fetch", log)


REQUESTS = """
import sys
import structlog
from troth.serving import logs

logs._moment = lambda: "2026-01-01T00:00:00.000000Z"
logs.configure(logs.LogFormat(sys.argv[1]), sys.argv[2], direct=sys.argv[3] == "direct")
entry = {"endpoint": "shop/a", "delivery_id": "caf\\u00e9", "target_status": 204, "reason": ""}
structlog.get_logger().info("delivery", **entry)
requests = logs.RequestLog("delivery")
requests.write(entry for _ in range(2))
requests.write([])
structlog.get_logger().warning("end")
"""


@pytest.mark.parametrize("way", ["direct", "by the standard library"])
@pytest.mark.parametrize("log_format", LogFormat)
def test_request_has_the_line_that_structlog_writes(log_format: LogFormat, way: str) -> None:
    def lines(level: str) -> list[str]:
        command = [sys.executable, "-c", REQUESTS, log_format.value, level, way]
        log = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return [re.sub(r"2\d{3}-[^Z]*Z", "", line) for line in log.splitlines()]

    first, *others, end = lines("info")
    assert "shop/a" in first
    assert others == [first] * 2
    assert lines("warning") == [end]


SHARED = """
import os
from troth.serving import logs

logs.configure(logs.LogFormat.JSON, "info", direct=True)
requests = logs.RequestLog("delivery")
worker = os.fork()
for batch in range(60):
    requests.write({"worker": worker, "id": "\\u00e9" * (40 + each)} for each in range(60))
if worker:
    os.wait()
"""


def test_lines_of_two_processes_with_a_slow_reader_stay_whole() -> None:
    with subprocess.Popen([sys.executable, "-c", SHARED], stderr=subprocess.PIPE) as running:
        assert running.stderr is not None
        time.sleep(0.5)  # both processes wait for the reader
        read = bytearray()
        while part := os.read(running.stderr.fileno(), select.PIPE_BUF):
            read += part
            time.sleep(0.001)
    lines = [json.loads(each) for each in read.splitlines()]
    assert len(lines) == 2 * 60 * 60
    assert len({each["worker"] for each in lines}) == 2


def test_line_that_no_pipe_takes_at_once_is_a_part_of_its_own() -> None:
    whole = select.PIPE_BUF - 1
    lines = ["a", "b" * (whole + 1), "c", "d" * whole, "e" * (whole - 2), "f"]
    assert list(_parts(lines)) == [*lines[:4], "\n".join(lines[4:])]
    assert list(_parts(["\u00e9" * (whole // 2), "g"])) == ["\u00e9" * (whole // 2), "g"]
    assert not list(_parts([]))
