"""Errors of brokers. Each message is a sentence that quotes no secret."""

from collections.abc import Iterator
from contextlib import contextmanager


class BrokerError(Exception):
    """Work at a broker failed."""


class UnreachableError(BrokerError):
    """The broker did not answer in time."""


class AdminRefusedError(BrokerError):
    """The broker rejects the admin credential or does not allow it to administer."""


class NotTakenError(AdminRefusedError):
    """The broker checked a credential and rejected it."""


class UnsupportedError(BrokerError):
    """Troth does not support the broker type, or not with that kind of client."""


class MissingExtraError(BrokerError):
    """The client library for the broker type is not installed."""


@contextmanager
def needs_extra(name: str, extra: str) -> Iterator[None]:
    """Raise `MissingExtraError` if an import in the block fails, because it needs this extra."""
    try:
        yield
    except ImportError:
        raise MissingExtraError(f"{name} needs troth[{extra}]; install it") from None
