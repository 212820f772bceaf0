"""Fuzz a parser with atheris: `python -m tests.webhooks.fuzz TARGET [CORPUS …] [-runs=N …]`.

TARGET is one of `targets.TARGETS`, or `all`, where the first byte chooses. It begins with what is
good and with the corpora; options are those of libFuzzer.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["troth", "http_sf"]):
    from tests.webhooks.fuzz.targets import TARGETS, seeds

ALL = "all"


def _any(data: bytes) -> None:
    names = list(TARGETS)
    TARGETS[names[(data[0] if data else 0) % len(names)]](data[1:])


def main() -> None:
    target, *options = sys.argv[1:] or [""]
    if target not in (*TARGETS, ALL):
        sys.exit(f"choose one of {', '.join((*TARGETS, ALL))}")
    with tempfile.TemporaryDirectory() as folder:
        for place, name in enumerate(TARGETS):
            first = bytes((place,)) if target == ALL else b""
            for number, good in enumerate(seeds(name) if target in (name, ALL) else ()):
                (Path(folder) / f"{name}-{number}").write_bytes(first + good)
        # what it finds goes into the first corpus that is named, and else nowhere that lasts
        corpora = [each for each in options if not each.startswith("-")]
        flags = [each for each in options if each.startswith("-")]
        atheris.Setup([sys.argv[0], *flags, *corpora, folder], TARGETS.get(target, _any))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
