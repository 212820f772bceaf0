"""Errors that no code can catch are lines on standard error, without the text of an exception."""

import subprocess
import sys

COMMAND = """
import sys, threading
from troth.cli import main as module

SECRET = "-".join(["correct", "horse", "battery"])

class Held:
    def __del__(self):
        raise ValueError(SECRET)

    def __repr__(self):
        return SECRET

def fail():
    raise OSError(SECRET)

def app(**_):
    thread = threading.Thread(target=fail, name=SECRET)
    thread.start()
    thread.join()
    Held()

module.app = app
module.main()
"""


def test_error_in_a_thread_or_a_finalizer_is_printed_without_its_text() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, check=True
    )
    assert "correct-horse-battery" not in ended.stderr
    errors = sorted(line.partition(": ")[2] for line in ended.stderr.splitlines())
    assert errors == ["OSError in <string>:15", "ValueError in <string>:9"]
