"""Errors of brokers. Each is a sentence that quotes no secret."""

from collections.abc import Iterator
from contextlib import contextmanager


class BrokerError(Exception):
    """A broker did not answer as it should."""


class UnreachableError(BrokerError):
    """The broker did not answer in time."""


class AdminRefusedError(BrokerError):
    """The broker rejects the operator's own credential, or does not allow it to administer."""


class NotTakenError(AdminRefusedError):
    """The broker has checked the credential and rejects it."""


class UnsupportedError(BrokerError):
    """Troth cannot administer such a broker, or not with clients of that kind."""


class MissingExtraError(BrokerError):
    """The library that speaks with such a broker is not installed."""


@contextmanager
def needs_extra(name: str, extra: str) -> Iterator[None]:
    """Raise `MissingExtraError` where an import fails that needs an extra of the package."""
    try:
        yield
    except ImportError:
        raise MissingExtraError(f"{name} needs troth[{extra}]; install it") from None
