"""Reads bundles, issuers and a certificate for `troth token verify` from files."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from troth.cli.token.holder import Holder
from troth.documents.identity.document import DocumentError, parse_document
from troth.documents.secret_keys import IDENTITY_JSON, LEAF
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.pki.errors import PKIError
from troth.resources.faults import FaultyManifests, ManifestFault

BUNDLE_MAP = "bundle-map.json"

_Read = TypeVar("_Read")


def read_bundles(path: Path) -> dict[str, SPIFFEBundle]:
    """Return the bundles of a bundle map file, or of the one in a folder."""
    return _read(path, BUNDLE_MAP, parse_bundle_map)


def read_issuers(path: Path) -> Mapping[str, str]:
    """Return the issuers of an `identity.json`, or of the one in a folder, by trust domain."""
    return _read(path, IDENTITY_JSON, _issuers)


def read_holder(path: Path) -> Holder:
    """Return the holder of a `tls.crt`."""
    return _read(path, LEAF, Holder.of)


def named_issuers(named: Iterable[str], domains: Iterable[str]) -> Mapping[str, str]:
    """Parse `--issuer`: `DOMAIN=URL`, or one URL for all known domains."""
    issuers: dict[str, str] = {}
    for each in named:
        domain, equals, url = each.partition("=")
        if equals and "/" not in domain:
            issuers[domain] = url
        else:
            issuers |= dict.fromkeys(domains, each)
    return issuers


def _issuers(text: bytes) -> Mapping[str, str]:
    return parse_document(text).issuers


def _read(path: Path, name: str, parse: Callable[[bytes], _Read]) -> _Read:
    file = path / name if path.is_dir() else path
    try:
        return parse(file.read_bytes())
    except OSError as error:
        sentence = error.strerror or "cannot be read"
        raise FaultyManifests([ManifestFault(str(file), "", "", sentence)]) from None
    except (PKIError, DocumentError) as error:
        raise FaultyManifests([ManifestFault(str(file), "", "", str(error))]) from None
