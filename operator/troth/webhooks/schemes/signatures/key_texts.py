"""Shared secrets that are used exactly as the text that the sender has."""

from troth.webhooks.schemes.scheme import Key, KeyFormatError
from troth.webhooks.schemes.signatures.matching import HMAC_SHA256

SHORTEST = 16
"""Minimum length in characters; a shorter one could be found offline from one leaked delivery."""

LONGEST = 1024


def secret_key(key_id: str, text: bytes, algorithm: str = HMAC_SHA256) -> Key:
    """Return the key whose bytes are those of the text; raises `KeyFormatError`."""
    return Key(key_id, algorithm, plain_text(text).encode())


def plain_text(text: bytes) -> str:
    """Return the text without surrounding white space.

    Raises `KeyFormatError` if it is not printable or too short or too long.
    """
    try:
        plain = text.strip().decode()
    except UnicodeDecodeError:
        raise KeyFormatError("not UTF-8; write the secret as the sender shows it") from None
    if not plain.isprintable():
        raise KeyFormatError("not printable, or more than one line; write only the secret")
    if not SHORTEST <= len(plain) <= LONGEST:
        raise KeyFormatError(f"a secret has {SHORTEST} to {LONGEST} characters; choose another")
    return plain
