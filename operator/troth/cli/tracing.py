"""The tracer of a program, if its environment switches traces on."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.extras import needs_extra
from troth.serving.tracing import Tracer, TracingError, switched_on


@contextmanager
def tracing(service: str) -> Iterator[Tracer | None]:
    """Yield a tracer, or None; send its last spans on exit.

    Exits with code 2 if a variable of OpenTelemetry cannot be used, or without the extra.
    """
    try:
        on = switched_on(os.environ)
    except TracingError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None
    if not on:
        yield None
        return
    try:
        with needs_extra("otel"):
            from troth.serving.otel import OTelTracer  # noqa: PLC0415
        tracer = OTelTracer(service)
    except (ValueError, OSError, RuntimeError, StopIteration) as error:  # it may quote the value
        typer.echo(
            "a variable of OpenTelemetry (OTEL_...) has a value that its SDK rejects "
            f"({type(error).__name__}); correct it, or set OTEL_TRACES_EXPORTER=none",
            err=True,
        )
        raise typer.Exit(ExitCode.UNUSABLE_INPUT) from None
    try:
        yield tracer
    finally:
        tracer.close()
