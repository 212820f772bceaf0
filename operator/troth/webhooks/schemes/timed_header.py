"""A header that has a time and signatures in it, as Stripe and Paddle have: `t=…,v1=…,v1=…`."""

from dataclasses import dataclass

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.encodings import from_hex
from troth.webhooks.schemes.matching import decode_signature
from troth.webhooks.schemes.scheme import MOST_SIGNATURES


@dataclass(frozen=True, slots=True)
class TimedHeader:
    """How such a header is spelled: its name, what is between two members, and their names."""

    name: bytes
    separator: str
    time: str
    signature: str

    def read(self, delivery: Delivery) -> tuple[str, tuple[bytes, ...]]:
        """Return the text of the time, and the signatures; raises `RefusedError`.

        The time is there once. Members of other names are left out, and count: a header has at
        most `MOST_SIGNATURES` beside the time.
        """
        text = delivery.header(self.name, Reason.SIGNATURE_MISSING)
        members = text.split(self.separator, MOST_SIGNATURES + 1) if text else []
        if len(members) > MOST_SIGNATURES + 1:
            raise RefusedError(
                Reason.TOO_MANY_SIGNATURES, f"more than {MOST_SIGNATURES} signatures"
            )
        pairs = [member.partition("=") for member in members]
        if not all(name and equals for name, equals, _ in pairs):
            raise RefusedError(
                Reason.SIGNATURE_MALFORMED, f"the header {self.name.decode()} is not in pairs"
            )
        times = [value for name, _, value in pairs if name == self.time]
        signatures = tuple(
            decode_signature(value, from_hex) for name, _, value in pairs if name == self.signature
        )
        if not signatures:
            raise RefusedError(Reason.SIGNATURE_MISSING, f"there is no signature {self.signature}=")
        if len(times) != 1:
            raise RefusedError(
                Reason.TIMESTAMP_MALFORMED, f"there is not exactly one time {self.time}="
            )
        return times[0], signatures

    def written(self, time: str, signature: str) -> tuple[str, str]:
        """Return the header with one signature."""
        value = f"{self.time}={time}{self.separator}{self.signature}={signature}"
        return self.name.decode(), value
