"""`troth probe`: makes the probes of a pod, and prints what they saw."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import typer

from troth.cli.exit_codes import ExitCode
from troth.documents.probes import (
    BUNDLE,
    IDENTITIES,
    STOPPED,
    UNMADE,
    VARIABLE,
    Instruction,
    Instructions,
    Outcome,
    PodReport,
    Seen,
    any_answered,
    read_instructions,
)

PAUSE = 0.5
"""Seconds between two attempts."""


def probe() -> None:
    """Make the probes that the variable TROTH_PROBES describes; `troth prove` starts such pods.

    It sends GET requests only, and prints one line of JSON.
    """
    from troth.cli.probe.connection import resolver_answers  # noqa: PLC0415
    from troth.cli.probe.request import attempt  # noqa: PLC0415

    try:
        instructions = read_instructions(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        typer.echo(f"{VARIABLE}: {error}; `troth prove` sets it", err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None
    once = partial(
        attempt, identities=Path(IDENTITIES), bundle=Path(BUNDLE), timeout=instructions.timeout
    )
    seen = make(instructions, once, time.monotonic, time.sleep)
    answered = any_answered(seen) or resolver_answers(instructions.timeout)
    typer.echo(PodReport(instructions.nonce, seen, answered).line)


def make(
    instructions: Instructions,
    once: Callable[[Instruction], Seen],
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> tuple[Seen, ...]:
    """Make the probes in their order; repeat each that does not do as it should, for a while.

    The network rules of a new pod may take effect late, and so may those that open an edge.
    """
    until = clock() + instructions.patience
    found = []
    for ask in instructions.probes:
        seen = once(ask)
        while not _is_final(ask, seen) and clock() < until:
            sleep(PAUSE)
            seen = once(ask)
        found.append(seen)
    return tuple(found)


def _is_final(ask: Instruction, seen: Seen) -> bool:
    """Return whether a repetition could not bring the outcome that should be."""
    if seen.outcome in UNMADE:
        return seen.outcome is Outcome.FAILED
    if ask.passes:
        return seen.outcome in {Outcome.ANSWERED, Outcome.GARBLED, Outcome.CONNECTED}
    return ask.request or seen.outcome in STOPPED
