"""The Secret with which a broker is administered, read as a person's input.

An error names the key that is missing or cannot be used, and quotes nothing of its value.
"""

from collections.abc import Mapping

from troth.brokers.errors import AdminRefusedError
from troth.resources.messaging.message_broker import MessageBroker

LONGEST = 64 * 1024
"""Bytes of a value in an admin Secret."""


class AdminSecret:
    """The data of a broker's admin Secret, each value asked for by its key."""

    def __init__(self, broker: MessageBroker, data: Mapping[str, bytes]) -> None:
        name = broker.spec.described.admin_secret_ref.name
        self.where = f"admin Secret {broker.ref.namespace}/{name}"
        self._data = data

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def value(self, key: str) -> bytes:
        """Return a value; raises `AdminRefusedError` if it is not there or is too long."""
        value = self._data.get(key, b"")
        if len(value) > LONGEST:
            raise self.refused(key, f"is longer than {LONGEST} bytes")
        if not value.strip():
            raise AdminRefusedError(f"{self.where} has no {key}; add it")
        return value

    def text(self, key: str) -> str:
        """Return a value that is text."""
        try:
            return self.value(key).decode()
        except UnicodeDecodeError:
            raise self.refused(key, "is not text") from None

    def line(self, key: str) -> str:
        """Return a text of one line, without the end that editors put after it."""
        line = self.text(key).removesuffix("\n").removesuffix("\r")
        if not line.isprintable():
            raise self.refused(key, "has a second line or an invisible character")
        return line

    def refused(self, key: str, because: str) -> AdminRefusedError:
        """Return the error that says what is wrong with a value."""
        return AdminRefusedError(f"{key} in {self.where} {because}; correct it")
