"""Writes self-contained kubeconfig files."""

import base64
from collections.abc import Mapping
from pathlib import Path

import yaml

from sandbox.certificates import KeyPair, owner_only

NAME = "troth-sandbox"


def write_kubeconfig(
    path: Path,
    *,
    cluster: Mapping[str, str],
    user: Mapping[str, str],
    namespace: str = "default",
) -> Path:
    """Write a kubeconfig for one user of one cluster; return its path."""
    context = {"cluster": NAME, "user": NAME, "namespace": namespace}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": dict(cluster)}],
        "users": [{"name": NAME, "user": dict(user)}],
        "contexts": [{"name": NAME, "context": context}],
        "current-context": NAME,
    }
    # Renamed into place, so that a waiting reader never reads an incomplete file.
    draft = path.with_name(f".{path.name}.draft")
    with open(draft, "w", opener=owner_only) as file:
        yaml.safe_dump(content, file, sort_keys=False)
    return draft.replace(path)


def verified(server: str, authority: bytes) -> dict[str, str]:
    """Return the cluster entry of an API server that clients verify by `authority` (PEM) alone."""
    return {"server": server, "certificate-authority-data": encoded(authority)}


def by_certificate(pair: KeyPair) -> dict[str, str]:
    """Return the user entry of a user with a client certificate."""
    return {
        "client-certificate-data": encoded(pair.certificate.read_bytes()),
        "client-key-data": encoded(pair.key.read_bytes()),
    }


def encoded(content: bytes) -> str:
    """Return bytes in the encoding of kubeconfig files."""
    return base64.b64encode(content).decode()
