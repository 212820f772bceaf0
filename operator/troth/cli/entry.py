"""Entry point of the `troth` command, which the base installation has too."""

from troth.cli.extras import needs_extra


def main() -> None:
    """Run the command; exit with code 2 and say what to install if its extra is missing."""
    with needs_extra("cli"):
        from troth.cli.main import main as run  # noqa: PLC0415

        run()
