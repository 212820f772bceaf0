"""A shared secret as a Secret has it: the text that the sender was given, used as it is."""

from troth.webhooks.schemes.matching import HMAC_SHA256
from troth.webhooks.schemes.scheme import Key, KeyFormatError

SHORTEST = 16
"""Characters of a secret. One delivery that leaks is enough to try shorter ones at home."""

LONGEST = 1024


def secret_key(key_id: str, text: bytes, algorithm: str = HMAC_SHA256) -> Key:
    """Return the key whose bytes are those of the text; raises `KeyFormatError`."""
    return Key(key_id, algorithm, plain_text(text).encode())


def plain_text(text: bytes) -> str:
    """Return the text without white space around it; raises `KeyFormatError`.

    It is printable, and as long as a secret has to be.
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
