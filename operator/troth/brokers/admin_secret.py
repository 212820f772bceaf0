"""Admin Secret of a broker, validated as user input.

An error names the missing or unusable key, and quotes nothing of its value.
"""

from collections.abc import Mapping

from troth.brokers.errors import AdminRefusedError
from troth.resources.messaging.message_broker import MessageBroker

LONGEST = 64 * 1024
"""Maximum bytes of a value in an admin Secret."""


class AdminSecret:
    """Data of a broker's admin Secret, with validated access by key."""

    def __init__(self, broker: MessageBroker, data: Mapping[str, bytes]) -> None:
        name = broker.spec.described.admin_secret_ref.name
        self.where = f"admin Secret {broker.ref.namespace}/{name}"
        self._data = data

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def value(self, key: str) -> bytes:
        """Return a value; raises `AdminRefusedError` if it is missing, blank or too long."""
        value = self._data.get(key, b"")
        if len(value) > LONGEST:
            raise self.refused(key, f"is longer than {LONGEST} bytes")
        if not value.strip():
            raise AdminRefusedError(f"{self.where} has no {key}; add it")
        return value

    def text(self, key: str) -> str:
        """Return a value as text; raises `AdminRefusedError` if it is not UTF-8."""
        try:
            return self.value(key).decode()
        except UnicodeDecodeError:
            raise self.refused(key, "is not text") from None

    def line(self, key: str) -> str:
        """Return a value of one printable line, without the line end that editors add.

        Raises `AdminRefusedError` for any other value.
        """
        line = self.text(key).removesuffix("\n").removesuffix("\r")
        if not line.isprintable():
            raise self.refused(key, "has a second line or an invisible character")
        return line

    def refused(self, key: str, because: str) -> AdminRefusedError:
        """Return the error for an invalid value."""
        return AdminRefusedError(f"{key} in {self.where} {because}; correct it")
