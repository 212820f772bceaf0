"""Facts of the Secrets of webhooks.

A person's Secret is read only if a label gives it to Troth; otherwise anybody who may write a
WebhookEndpoint could use any Secret of the namespace. Of a key's text, only the schemes that can
use it and a fingerprint are kept. The fingerprint is salted with the Secret's UID, which is visible
only to those who can read the Secret, so a weak key cannot be guessed from a status.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime

from pydantic_core import PydanticCustomError

from troth.pki.encodings import strict_json
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time, parse_moment
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.registry import flaw_of, usable_for
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.facts.objects import MANAGED_BY, Manifest
from troth.world.facts.webhook import TOO_LARGE, CompiledSecret, KeysSecret, KnownKey
from troth.world.observation.broker_secrets import digest
from troth.world.observation.objects import fact_of
from troth.world.observation.secret_data import SecretData

GIVEN_LABEL = "troth.dev/webhook-keys"
"""Label that, with any value, gives a person's Secret to Troth."""
GENERATED_TYPE = "troth.dev/webhook-keys"
"""`type` of a Secret with keys that Troth creates."""
COMPILED_TYPE = "troth.dev/webhook"
"""`type` of a compiled endpoint."""
MADE = "troth.dev/keys-made"
"""Annotation of a generated Secret: the time of creation of each key."""
COMPILED_WITH = "troth.dev/webhook-keys"
COMPILED_DIGEST = "troth.dev/webhook-digest"
"""Annotations of a compiled endpoint: the fingerprints of its keys, and a digest of its data."""
LISTED = "troth.dev/webhook-listed"
"""Annotation of a compiled endpoint: the fingerprint of the delivery that its target lists."""
DOCUMENT, KEY_PREFIX = "endpoint.json", "key."
LONGEST_ID = 249
"""Maximum length of a key's ID in characters; with `KEY_PREFIX` it is a name in a Secret."""
_SUFFIX = "-webhook"
_LONGEST = 16 * 1024


def generated_ref(endpoint: Ref) -> Ref:
    """Return the Secret with the keys that Troth creates for an endpoint."""
    return Ref(endpoint.namespace, endpoint.name + _SUFFIX)


def owner_of_generated(secret: Ref) -> Ref | None:
    """Return the endpoint whose generated keys would be in this Secret."""
    name = secret.name.removesuffix(_SUFFIX)
    return Ref(secret.namespace, name) if name != secret.name else None


def compiled_ref(endpoint: Ref, gateway: Ref) -> Ref:
    """Return the Secret with an endpoint for a gateway. The name of a namespace has no dot."""
    return Ref(gateway.namespace, f"{endpoint.namespace}.{endpoint.name}")


def endpoint_of(compiled: Ref) -> Ref | None:
    """Return the endpoint that would be compiled into a Secret of this name."""
    namespace, dot, name = compiled.name.partition(".")
    return Ref(namespace, name) if dot else None


def is_given(secret: Manifest) -> bool:
    """Return whether a person has given a Secret to Troth."""
    labels = secret["metadata"].get("labels") or {}
    return GIVEN_LABEL in labels and labels.get(MANAGED_BY) != "troth"


def is_generated(secret: Manifest) -> bool:
    """Return whether Troth creates the keys of a Secret."""
    return secret.get("type") == GENERATED_TYPE


def is_compiled(secret: Manifest) -> bool:
    """Return whether a Secret is a compiled endpoint."""
    return secret.get("type") == COMPILED_TYPE and endpoint_of(Ref.of(secret)) is not None


def fingerprint(uid: str, text: bytes) -> str:
    """Return the fingerprint of a key in the Secret with this UID, 16 digits."""
    return hmac.new(uid.encode(), text, hashlib.sha256).hexdigest()[:16]


def keys_secret(secret: Manifest) -> KeysSecret:
    """Return the facts of a Secret with the keys of a sender."""
    fact, data = fact_of(secret), SecretData(secret)
    if data.has_too_many:
        return KeysSecret(**fact, keys=(), unread=len(data))
    made = _read(secret, MADE)
    keys = [
        _known_key(key, text, fact["uid"], _moment(made.get(key)))
        for key in data
        if (text := data.get(key, LONGEST_KEY)) is not None
    ]
    return KeysSecret(**fact, keys=tuple(sorted(keys, key=lambda key: in_order(key.id))))


def _known_key(key_id: str, text: bytes, uid: str, made_at: datetime | None) -> KnownKey:
    if len(text) > LONGEST_KEY:
        return KnownKey(key_id, "", frozenset(), made_at, flaw=TOO_LARGE)
    schemes = usable_for(text)
    flaw = "" if SchemeName.HTTP_SIGNATURES in schemes else flaw_of(text)
    return KnownKey(key_id, fingerprint(uid, text), schemes, made_at, flaw=flaw)


def in_order(key_id: str) -> tuple[int, str]:
    """Return the sort key of a key ID: k10 after k9."""
    return len(key_id), key_id


def compiled_secret(secret: Manifest) -> CompiledSecret:
    """Return the facts of a compiled endpoint."""
    read, endpoint = SecretData(secret), endpoint_of(Ref.of(secret))
    assert endpoint is not None
    annotations = secret["metadata"].get("annotations") or {}
    data = {} if read.has_too_many else dict(read.items())
    return CompiledSecret(
        **fact_of(secret),
        endpoint=endpoint,
        document=data.get(DOCUMENT, b"").decode("utf-8", "replace"),
        keys=_read(secret, COMPILED_WITH),
        # names of values that are not base64 count too
        names=frozenset(read),
        intact=annotations.get(COMPILED_DIGEST) == digest(data) and len(data) == len(read),
        listed=annotations.get(LISTED, ""),
    )


def made_text(made: Mapping[str, datetime]) -> str:
    """Return the annotation with the times of creation of keys."""
    return json.dumps({key: format_time(moment) for key, moment in sorted(made.items())})


def keys_text(fingerprints: Mapping[str, str]) -> str:
    """Return the annotation with the fingerprints of an endpoint's keys."""
    return json.dumps(dict(sorted(fingerprints.items())))


def _read(secret: Manifest, annotation: str) -> dict[str, str]:
    """Return the content of one of Troth's annotations, empty if it is invalid."""
    text = (secret["metadata"].get("annotations") or {}).get(annotation, "")
    try:
        document = strict_json.parse(text) if len(text) <= _LONGEST else None
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: value for key, value in document.items() if isinstance(value, str)}


def _moment(text: str | None) -> datetime | None:
    try:
        return parse_moment(text)
    except PydanticCustomError:
        return None
