"""Fuzz the opening of events with atheris: `python -m tests.edge.events.fuzz TARGET [-runs=N …]`.

TARGET is one of `targets.TARGETS`, or `all`. `tests.fuzzing.fuzz` describes the options.
"""

import atheris

with atheris.instrument_imports(include=["troth"]):
    from tests.edge.events.fuzz.targets import TARGETS, WORDS, seeds

from tests.fuzzing import fuzz

if __name__ == "__main__":
    fuzz(TARGETS, seeds, WORDS)
