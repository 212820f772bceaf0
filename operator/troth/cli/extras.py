"""Guards for imports that need an optional extra of the package.

The module needs the standard library alone: the base installation has only what `troth.edge` needs.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from troth.cli.exit_codes import ExitCode


@contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Exit with code 2 and say which extra to install if an import in the body fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "troth").partition(".")[0]
        if module == "troth":
            raise  # a fault of Troth, which no extra mends
        sys.stderr.write(f"module {module} is not installed; run: pip install 'troth[{name}]'\n")
        raise SystemExit(ExitCode.UNUSABLE_INPUT) from None
