"""Registry of the fuzz targets."""

from collections.abc import Callable, Mapping

from tests.webhooks.fuzz import gateway_inputs, inputs, streams

TARGETS: Mapping[str, Callable[[bytes], None]] = {
    **inputs.TARGETS,
    **gateway_inputs.TARGETS,
    **streams.TARGETS,
}


def seeds(target: str) -> list[bytes]:
    """Good inputs of a target, to begin with."""
    if target in streams.TARGETS:
        return streams.seeds(target)
    if target in gateway_inputs.TARGETS:
        return gateway_inputs.seeds(target)
    return inputs.seeds(target)
