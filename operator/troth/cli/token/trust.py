"""What `troth token verify` believes: bundles, issuers and a certificate, from files."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from troth.cli.token.verification import Holder
from troth.edge.identity.document import DocumentError, parse_document
from troth.pki.errors import PKIError
from troth.pki.spiffe_bundle import SPIFFEBundle, parse_bundle_map
from troth.resources.manifests import Fault, FaultyManifests

BUNDLE_MAP, IDENTITY = "bundle-map.json", "identity.json"

_Read = TypeVar("_Read")


def read_bundles(path: Path) -> dict[str, SPIFFEBundle]:
    """Return the bundles of a bundle map, or of the folder that it is mounted in."""
    return _read(path, BUNDLE_MAP, parse_bundle_map)


def read_issuers(path: Path) -> Mapping[str, str]:
    """Return the issuers that an `identity.json` names, or that in a folder, by trust domain."""
    return _read(path, IDENTITY, _issuers)


def read_holder(path: Path) -> Holder:
    """Return whose a `tls.crt` is."""
    return _read(path, "tls.crt", Holder.of)


def named_issuers(named: Iterable[str], domains: Iterable[str]) -> Mapping[str, str]:
    """Return what `--issuer` names: `DOMAIN=URL`, or the URL of all domains that are known."""
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
        sentence = error.strerror or "it cannot be read"
        raise FaultyManifests([Fault(str(file), "", "", sentence)]) from None
    except (PKIError, DocumentError) as error:
        raise FaultyManifests([Fault(str(file), "", "", str(error))]) from None
