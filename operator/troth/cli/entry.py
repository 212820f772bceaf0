"""Entry point of the `troth` command, which the base installation has too."""

import gc

from troth.cli.extras import needs_extra

YOUNG = 200_000
"""Number of new objects after which Python's cycle collector runs; Python's own default is 700."""


def main() -> None:
    """Run the command; exit with code 2 and say what to install if its extra is missing.

    Imports make objects that stay, and so do manifests. Looking for cycles among them took a
    quarter of the time of an import, and a twentieth of the time of a plan. `troth run`,
    `troth agent` and the servers set their own threshold.
    """
    gc.set_threshold(YOUNG)
    with needs_extra("cli"):
        from troth.cli.main import main as run  # noqa: PLC0415

        try:
            run()
        finally:
            # Else Python looks for cycles at its exit, which took a quarter of the time of a plan.
            gc.freeze()
