"""`python -m troth.cli` is `troth`."""

from troth.cli.entry import main

main()
