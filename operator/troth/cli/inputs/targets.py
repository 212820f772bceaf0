"""Command line arguments that name a resource, as `sid/payments`, and its cluster."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from troth.resources.kinds import KINDS, Kind
from troth.resources.metadata import GROUP
from troth.resources.references import Ref

Cluster = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        envvar="TROTH_KUBECONFIG",
        help="Kubeconfig file. Defaults to the one that kubectl uses.",
    ),
]


@dataclass(frozen=True, slots=True)
class Named:
    """A kind and a name."""

    kind: Kind
    name: str

    def at(self, namespace: str) -> Ref:
        """Return the resource's reference; `namespace` is ignored for a cluster-scoped kind."""
        return Ref(namespace if self.kind.namespaced else "", self.name)


def parse_ref(text: str, option: str, told: str) -> Ref:
    """Parse `NAMESPACE/NAME`, the value of an option; raises `BadParameter` with `told`."""
    namespace, _, name = text.partition("/")
    if not (namespace and name) or "/" in name:
        raise typer.BadParameter(told, param_hint=option)
    return Ref(namespace, name)


def parse_target(text: str) -> Named:
    """Parse `KIND/NAME`; KIND is a kind, its plural or its short name, in either case."""
    word, slash, name = text.partition("/")
    word = word.lower().removesuffix(f".{GROUP}")
    for kind in KINDS:
        if word in (kind.name.lower(), kind.plural, kind.short_name) and slash and name:
            return Named(kind, name)
    known = ", ".join(f"{kind.name} ({kind.short_name})" for kind in KINDS)
    raise typer.BadParameter(
        f"{text!r} is not KIND/NAME, such as sid/payments; known kinds: {known}"
    )
