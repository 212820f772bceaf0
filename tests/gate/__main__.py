"""The command behind `make test` and `make test-all`: `python -m tests.gate gate`."""

import json
from datetime import UTC, datetime
from typing import Annotated, NoReturn

import typer

from tests.gate import quarantine
from tests.gate.parts import BUDGET, Part, Tier, parts_of
from tests.gate.running import run
from tests.gate.shards import Shard, closing_line, keep, merge
from tests.gate.sizes import ROOT
from tests.gate.summary import (
    age_of_last_whole_run,
    closing_lines,
    record_whole_run,
    summary,
)

REPORTS = ROOT / "build" / "tests"

SHARDS = REPORTS / "shards"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def gate(
    only: Annotated[list[str] | None, typer.Argument()] = None, shard: str | None = None
) -> None:
    """Run the checks and the tests whose result depends on the commit alone."""
    if shard is not None:
        raise typer.BadParameter("SHARD divides the tests of make test-all, not of make test")
    _run(Tier.GATE, _parts(Tier.GATE, only), strict=False)


@app.command("all")
def every_test(
    only: Annotated[list[str] | None, typer.Argument()] = None, shard: str | None = None
) -> None:
    """Run the checks and every test, with random examples; a flaky test fails the run."""
    if shard is not None:
        if only:
            raise typer.BadParameter("SHARD divides all tests; ONLY cannot be used with it")
        part, files = _shard(shard)
        _run(Tier.ALL, _parts(Tier.ALL, files), strict=True, shard=part)
    _run(Tier.ALL, _parts(Tier.ALL, only), strict=True, is_whole=not only)


@app.command()
def age() -> None:
    """Print the result of the last recorded whole run, and the tests in quarantine."""
    today = datetime.now(UTC).date()
    print("\n".join([*age_of_last_whole_run(), *quarantine.overdue(today)]))


def _run(
    tier: Tier,
    parts: tuple[Part, ...],
    *,
    strict: bool,
    is_whole: bool = False,
    shard: Shard | None = None,
) -> NoReturn:
    outcome = run(parts, REPORTS, BUDGET[tier])
    code = outcome.exit_code(strict=strict)
    if strict and (late := quarantine.overdue(datetime.now(UTC).date())):
        print(*late, sep="\n")
        code = 1
    found = summary(tier, outcome)
    text = json.dumps(found, indent=1) + "\n"
    (REPORTS / "summary.json").write_text(text)
    lines = closing_lines(found)
    if is_whole:
        record_whole_run(found)
    if shard:
        kept = keep(shard, found, SHARDS)
        if found["clean"] and len(kept) == shard.count:
            record_whole_run(merge(kept))
        lines.append(closing_line(shard, found, len(kept)))
    print("", *lines, sep="\n", flush=True)
    raise typer.Exit(code)


def _shard(text: str) -> tuple[Shard, list[str]]:
    try:
        shard = Shard.parse(text)
        return shard, list(shard.files())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _parts(tier: Tier, only: list[str] | None) -> tuple[Part, ...]:
    try:
        return parts_of(tier, tuple(only or ()))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


if __name__ == "__main__":
    app()
