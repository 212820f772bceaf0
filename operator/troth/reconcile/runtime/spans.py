"""Spans of work that may end without an error and without its effect.

Attributes are names and counts. They never hold a manifest, a message or an error's text.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from troth.cluster.errors import ApiError
from troth.planning.steps.step import Target
from troth.serving.tracing import Tracer

Outcomes = Mapping[type[BaseException], str]
"""Exceptions that are no failures, and the outcome that each stands for."""


@contextmanager
def work_span(
    tracer: Tracer, name: str, about: Mapping[str, str | int], outcomes: Outcomes
) -> Iterator[None]:
    """Open a span of work, which fails with the reason of an `ApiError`."""
    with tracer.span(name, about, expected=(*outcomes, ApiError)) as span:
        try:
            yield
        except tuple(outcomes) as error:
            span.set({"troth.outcome": outcomes[type(error)]})
            raise
        except ApiError as error:
            span.fail(error.reason)
            span.set({"http.response.status_code": error.status})
            raise


def named(what: str, target: Target) -> dict[str, str]:
    """Return the attributes that name an object."""
    kind, ref = target
    found = {"kind": kind, "namespace": ref.namespace, "name": ref.name}
    return {f"troth.{what}.{name}": value for name, value in found.items() if value}
