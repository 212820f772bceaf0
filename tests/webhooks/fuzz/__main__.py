"""Fuzz a parser with atheris: `python -m tests.webhooks.fuzz TARGET [CORPUS …] [-runs=N …]`.

TARGET is one of `targets.TARGETS`, or `all`. `tests.fuzzing.fuzz` describes the options.
"""

import atheris

with atheris.instrument_imports(include=["troth", "http_sf"]):
    from tests.webhooks.fuzz.targets import TARGETS, seeds

from tests.fuzzing import fuzz

if __name__ == "__main__":
    fuzz(TARGETS, seeds)
