"""Finds out why a signature is wrong, by searching for input that it matches.

The search tries what commonly goes wrong between a sender and a verifier. Hints describe the match
in words; they never contain a secret or a valid signature.
"""

import hmac
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice

from troth.cli.quoting import quoted
from troth.cli.webhook.variants import bodies, layouts, secrets, signatures
from troth.documents.webhook_endpoint import Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Scheme, Verified

EVER = float("inf")
_MOST = 3
"""Further matches would only repeat the same cause."""

_NOTHING = (
    "No common mistake explains the signature, so the key is probably wrong: a test secret for a "
    "live delivery, the secret of another endpoint, or a replaced one. Otherwise the body differs "
    "from what was sent."
)
_NO_KEY = "The scheme can use none of the keys, so no signature could match."

_FORM = frozenset(
    {Reason.SIGNATURE_MISSING, Reason.HEADER_MISSING, Reason.BODY_MALFORMED, Reason.NOT_COVERED}
)
_BYTES = frozenset({Reason.SIGNATURE_WRONG, Reason.CONTENT_CHANGED, Reason.BODY_MALFORMED})
_OTHERS = tuple(
    name
    for name in SchemeName
    if name not in (SchemeName.HMAC, SchemeName.SNS, SchemeName.GITLAB_TOKEN)
)


@dataclass(frozen=True, slots=True)
class KeyText:
    """The content of a key file. The text never appears in a `repr`."""

    id: str
    text: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """A rejected delivery, with all input of its verification."""

    delivery: Delivery
    signing: Signing
    texts: tuple[KeyText, ...]
    now: float
    reason: Reason


def hints(refused: Refused) -> list[str]:
    """Return what would make the delivery valid, or what it looks like; most likely first."""
    found: list[str] = []
    if refused.reason in _BYTES:
        found += islice(_by_body(refused), _MOST)
    if refused.reason is Reason.SIGNATURE_WRONG:
        found += _by_key_id(refused)
        found += islice(_by_url(refused), 1)
    if refused.reason in _FORM or (refused.reason is not Reason.CONTENT_CHANGED and not found):
        found += _by_scheme(refused)
    if refused.reason is Reason.SIGNATURE_WRONG and not found:
        found += islice(_by_search(refused), 1)
        scheme = scheme_for(refused.signing)
        found = found or [_NOTHING if usable(scheme, refused.texts) else _NO_KEY]
    return found


def usable(scheme: Scheme, texts: Sequence[KeyText]) -> list[Key]:
    """Return the keys that a scheme can use."""
    keys = []
    for each in texts:
        with suppress(KeyFormatError):
            keys.append(scheme.key(each.id, each.text))
    return keys


def _by_body(refused: Refused) -> Iterator[str]:
    scheme = scheme_for(refused.signing)
    keys = usable(scheme, refused.texts)
    for what, body in bodies(refused.delivery.body):
        other = replace(refused.delivery, body=body)
        if _verified(scheme, other, keys, refused.now):
            yield (
                f"The signature matches the body {what}. Verify the bytes as received, before "
                "anything parses, decodes or saves them."
            )


def _by_key_id(refused: Refused) -> list[str]:
    """For schemes whose deliveries name a key: find another key that made the signature."""
    scheme = scheme_for(refused.signing)
    named = {f"key {number}": each for number, each in enumerate(usable(scheme, refused.texts))}
    renamed = [replace(each, id=key_id) for key_id, each in named.items()]
    known = _verified(scheme, refused.delivery, renamed, refused.now)
    if known is None:
        return []
    by = quoted(named[known.key_id].id)
    return [f"The key {by} made the signature, but its keyid names another key: they are swapped."]


def _by_url(refused: Refused) -> Iterator[str]:
    url = refused.signing.url
    hosts = [value.decode("latin-1") for value in refused.delivery.values(b"host")][:1]
    path = refused.delivery.target.partition(b"?")[0].decode("latin-1")
    keys = usable(scheme_for(refused.signing), refused.texts)
    for each in (
        url.removesuffix("/"),
        f"{url}/",
        url.replace("https://", "http://", 1),
        url.replace("http://", "https://", 1),
        *(f"https://{host}{path}" for host in hosts),
        *(f"http://{host}{path}" for host in hosts),
    ):
        try:
            scheme = scheme_for(refused.signing.model_copy(update={"url": each}))
        except ValueError:
            continue
        if each != url and _verified(scheme, refused.delivery, keys, refused.now):
            yield (
                f"The signature matches the URL {quoted(each)}: write the URL as configured at the "
                "sender."
            )


def _by_scheme(refused: Refused) -> Iterator[str]:
    for name in _OTHERS:
        if name is refused.signing.name:
            continue
        signing = Signing(name=name, url=refused.signing.url)
        scheme = scheme_for(signing)
        keys = usable(scheme, refused.texts)
        try:
            scheme.verify(refused.delivery, keys, refused.now, EVER)
        except RefusedError as error:
            if refused.reason in _FORM and error.reason is Reason.SIGNATURE_WRONG:
                yield f"The request has the headers of the scheme {name}."
        else:
            yield f"The signature is valid for the scheme {name}: use that scheme."


def _by_search(refused: Refused) -> Iterator[str]:
    """Try all combinations of layout, secret, body and digest."""
    given = signatures(refused.delivery)
    if not given:
        return
    variants = [("as received", refused.delivery.body), *bodies(refused.delivery.body)]
    shapes = list(layouts(refused.delivery, refused.signing.url))
    for text in refused.texts:
        for how, secret in secrets(text.text):
            for what, body in variants:
                for layout, before, after in shapes:
                    for digest in ("sha256", "sha1", "sha512"):
                        mac = hmac.digest(secret, before + body + after, digest)
                        if any(hmac.compare_digest(mac, each) for each in given):
                            yield (
                                f"The key {quoted(text.id)} made it, as the HMAC-{digest.upper()} "
                                f"of {layout}, with the body {what}, keyed with {how}. Write the "
                                "secret as the scheme expects it, or describe this with the "
                                "scheme HMAC."
                            )


def _verified(
    scheme: Scheme, delivery: Delivery, keys: Sequence[Key], now: float
) -> Verified | None:
    """Return the verified delivery, ignoring its timestamp, or None."""
    try:
        return scheme.verify(delivery, keys, now, EVER)
    except RefusedError:
        return None
