"""Differences between two states of a cluster as text, without secret values."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from troth.documents.identity.reading import parsed
from troth.documents.identity.writing import VERSION
from troth.documents.secret_keys import IDENTITY_JSON, ROOTS
from troth.documents.webhook_endpoint import EndpointError, parse_endpoint
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.pki.certificates.leaf import short
from troth.pki.errors import PKIError
from troth.planning.identity.messages.schema_files import INDEX
from troth.reconcile.rehearsal import Place
from troth.resources.manifests import Manifest, dump
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_duration
from troth.world.observation import objects as observe
from troth.world.observation.webhook_secrets import COMPILED_TYPE, DOCUMENT
from troth.world.watch_class import GIVEN, REPORTS, SCHEMAS, watch_class_of

WRITTEN = ("Secret", "ConfigMap", "NetworkPolicy")
LATER = "(known after apply)"
STRANGE = "(not written by Troth)"


@dataclass(frozen=True, slots=True)
class Difference:
    """One added, changed or removed object, with the lines of a unified diff."""

    sign: Literal["+", "~", "-"]
    kind: str
    ref: Ref
    lines: tuple[str, ...]


def differences(
    before: Mapping[Place, Manifest], after: Mapping[Place, Manifest]
) -> list[Difference]:
    """Return the differences in objects that Troth writes, by namespace, name and kind."""
    reader = _Reader(before.values())
    found = []
    places = {place for place in before.keys() | after.keys() if place[0] in WRITTEN}
    for kind, ref in sorted(places, key=lambda place: (place[1], place[0])):
        old, new = before.get((kind, ref)), after.get((kind, ref))
        theirs = (GIVEN, REPORTS, SCHEMAS)
        if any(each is not None and watch_class_of(each) in theirs for each in (old, new)):
            continue  # written by users or gateways
        if new is None:
            found.append(Difference("-", kind, ref, ()))
        elif old is None:
            lines = tuple(f"+{line}" for line in reader.text(new).splitlines())
            found.append(Difference("+", kind, ref, lines))
        elif lines := _changed(reader.text(old), reader.text(new)):
            found.append(Difference("~", kind, ref, lines))
    return found


class _Reader:
    """Turns objects into text. Fingerprints of certificates to be issued are not shown."""

    def __init__(self, before: Iterable[Manifest]) -> None:
        self._known: set[str] = set()
        for manifest in before:
            if manifest["kind"] == "Secret":
                facts = observe.identity_secret(manifest)
                self._known |= {facts.leaf.fingerprint} if facts.leaf else set()
                self._known |= set(_keys_of_gateways(_parsed(facts.public.get(IDENTITY_JSON, ""))))
            elif manifest["kind"] == "ConfigMap":
                self._known |= set(_roots((manifest.get("data") or {}).get(ROOTS, "")))

    def text(self, manifest: Manifest) -> str:
        """Return the parts of an object that are not secret, as YAML."""
        match manifest["kind"]:
            case "Secret":
                return dump(self._secret(manifest), ascii=True)
            case "ConfigMap":
                data = manifest.get("data") or {}
                if INDEX in data:  # file names are digests, so they show every change
                    return dump({"schemas": sorted(data.keys() - {INDEX})}, ascii=True)
                roots = _roots(data.get(ROOTS, ""))
                return dump({"roots": [self._named(root) for root in roots]}, ascii=True)
            case _:
                return dump({"spec": _in_order(manifest.get("spec"))}, ascii=True)

    def _secret(self, manifest: Manifest) -> Manifest:
        data = observe.decoded(manifest)
        shown: Manifest = {}
        if IDENTITY_JSON in data:
            facts = observe.identity_secret(manifest)
            if facts.leaf is not None:
                shown["certificate"] = {
                    "fingerprint": self._named(facts.leaf.fingerprint),
                    "spiffeID": facts.leaf.spiffe_id,
                    "dnsNames": list(facts.leaf.dns_names),
                    "algorithm": facts.leaf.algorithm.value,
                    "lifetime": format_duration(facts.leaf.not_after - facts.leaf.issued_at),
                }
            roots = _roots(facts.public.get(ROOTS, ""))
            shown["roots"] = [self._named(root) for root in roots]
            shown[IDENTITY_JSON] = self._peers(_parsed(facts.public[IDENTITY_JSON]))
        if manifest.get("type") == COMPILED_TYPE:
            shown[DOCUMENT] = _compiled(data.get(DOCUMENT, b""))
        shown["keys"] = sorted(data)
        return shown

    def _peers(self, document: object) -> object:
        """Return the peers document of a Secret, with the ids of gateways' keys."""
        if not isinstance(document, dict) or "webhooks" not in document:
            return document
        try:
            entries = [
                {**entry, "keys": [kid if kid in self._known else LATER for kid in _key_ids(entry)]}
                for entry in document["webhooks"]
            ]
        except (KeyError, TypeError):
            return STRANGE
        return {**document, "webhooks": entries}

    def _named(self, fingerprint: str) -> str:
        return short(fingerprint) if fingerprint in self._known else LATER


def _in_order(value: object) -> object:
    """Return a value with its keys sorted, because the API server orders them differently."""
    match value:
        case dict():
            return {key: _in_order(value[key]) for key in sorted(value)}
        case list():
            return [_in_order(item) for item in value]
        case _:
            return value


def _roots(bundle: str) -> tuple[str, ...]:
    try:
        return parse_bundle(bundle)
    except PKIError:
        return ()


def _parsed(text: str) -> object:
    """Return the peers document, or `STRANGE` for other content, which may be secret."""
    document = parsed(text)
    return document if document.get("version") == VERSION else STRANGE


def _keys_of_gateways(document: object) -> Iterable[str]:
    try:
        entries = document.get("webhooks", []) if isinstance(document, dict) else []
        return [kid for entry in entries for kid in _key_ids(entry)]
    except (KeyError, TypeError):
        return []


def _key_ids(entry: Manifest) -> list[str]:
    return [key["kid"] for key in entry["keys"]["keys"]]


def _compiled(text: bytes) -> object:
    """Return a compiled endpoint, or `STRANGE` for other content, which may be secret."""
    try:
        return parse_endpoint(text).model_dump(mode="json", by_alias=True, exclude_defaults=True)
    except EndpointError:
        return STRANGE


def _changed(old: str, new: str) -> tuple[str, ...]:
    diff = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=2)
    return tuple(line for line in diff if not line.startswith(("---", "+++")))
