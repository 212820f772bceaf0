"""`python -m website`: write the generated files of docs/reference, or check them."""

import argparse
import sys

from website.generated import files, stale


def main() -> None:
    """Write the files, or end with code 1 if one differs."""
    parser = argparse.ArgumentParser(prog="python -m website", description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--write", action="store_true", help="write the files")
    mode.add_argument("--check", action="store_true", help="end with code 1 if a file differs")
    if parser.parse_args().write:
        for path, text in files().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    elif different := stale():
        names = ", ".join(path.name for path in different)
        sys.exit(f"{names}: differs from what the models generate; run make crds")


main()
