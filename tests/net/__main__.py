"""`python -m tests.net`: show the differences from the record of Troth's behaviour, or write it."""

import argparse
import sys

from tests.net import record
from tests.net.canonical import dumped
from tests.net.differences import differences
from tests.net.worlds import WORLDS, world


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.net", description=__doc__)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("--check", action="store_true", help="show what is not as recorded")
    asked.add_argument("--write", action="store_true", help="record again")
    asked.add_argument("--coverage", action="store_true", help="show what the worlds exercise")
    asked.add_argument(
        "--world",
        type=int,
        choices=range(WORLDS),
        metavar="N",
        help="print what is planned in a world; two checkouts can be compared by it",
    )
    options = parser.parse_args()
    if options.world is not None:
        sys.stdout.write(f"{dumped(world(options.world).shown(), indent=1)}\n")
        return 0
    if options.coverage:
        sys.stdout.write(record.coverage_text())
        return 0
    if options.write:
        changed = record.write()
        sys.stdout.write("".join(f"{name}\n" for name in changed) or "nothing has changed\n")
        return 0
    compared = (differences(name, text) for name, text in record.made().items())
    found = [text for text in compared if text]
    sys.stdout.write("".join(f"{text}\n" for text in found) or "all is as recorded\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
