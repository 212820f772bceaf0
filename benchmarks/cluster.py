"""What every benchmark asks of its sandbox."""

import json
from collections.abc import Iterable

from benchmarks.topology import Manifest
from sandbox import Sandbox
from sandbox.demo.programs import NAMESPACE as SYSTEM


def prepare(sandbox: Sandbox, *namespaces: str) -> None:
    """Make the kinds known, and the operator's namespace and others."""
    for namespace in (SYSTEM, *namespaces):
        sandbox.kubectl("create", "namespace", namespace)
    sandbox.kubectl("apply", "-f", "crds")
    sandbox.kubectl("wait", "--for=condition=Established", "crd", "--all")


def apply(sandbox: Sandbox, manifests: Iterable[Manifest]) -> None:
    """Declare manifests as a person does."""
    text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    sandbox.kubectl("apply", "-f", "-", stdin=text)
