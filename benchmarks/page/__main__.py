"""`python -m benchmarks.page RESULTS... DIRECTORY`: draw the pictures of docs/performance.md."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.page.pictures import TITLES, draw, merged, placed, summary, updated

SUMMARY = "results.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the pictures, the results without single times, and the page that shows them.

    Results of benchmarks that were not run again are kept. The page is beside the directory.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument(
        "results",
        nargs="+",
        type=Path,
        help="files of `python -m benchmarks --json`; the last full report of a title counts",
    )
    parser.add_argument("directory", type=Path, help="directory of the pictures")
    asked = parser.parse_args(arguments)
    runs = [run for each in asked.results for run in json.loads(each.read_text())["runs"]]
    new, file = merged(runs), asked.directory / SUMMARY
    before = json.loads(file.read_text()) if file.exists() else {"runs": []}
    results = summary(updated(before, new))
    pictures = draw(results)
    if not (pictures and new["runs"]):
        sys.exit("the results have no figure that a picture shows")
    asked.directory.mkdir(parents=True, exist_ok=True)
    for name in TITLES.keys() - pictures.keys():
        (asked.directory / name).unlink(missing_ok=True)
    for name, svg in pictures.items():
        (asked.directory / name).write_text(svg)
    page = asked.directory.with_suffix(".md")
    if page.exists():
        page.write_text(placed(page.read_text(), asked.directory.name, pictures))
    text = json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False)
    file.write_text(text + "\n")
    print(f"{len(pictures)} pictures in {asked.directory}")


if __name__ == "__main__":
    main()
