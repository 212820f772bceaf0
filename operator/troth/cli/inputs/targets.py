"""What a person names on the command line: a resource, `sid/payments`, and the cluster it is in."""

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
        help="How to reach the cluster, if not as kubectl does.",
    ),
]


@dataclass(frozen=True, slots=True)
class Named:
    """A kind and a name."""

    kind: Kind
    name: str

    def at(self, namespace: str) -> Ref:
        """Return where the resource is, for one who works in a namespace."""
        return Ref(namespace if self.kind.namespaced else "", self.name)


def parse_target(text: str) -> Named:
    """Return what `KIND/NAME` names: the kind, its plural or its short name, in any case."""
    word, slash, name = text.partition("/")
    word = word.lower().removesuffix(f".{GROUP}")
    for kind in KINDS:
        if word in (kind.name.lower(), kind.plural, kind.short_name) and slash and name:
            return Named(kind, name)
    known = ", ".join(f"{kind.name} ({kind.short_name})" for kind in KINDS)
    raise typer.BadParameter(f"write KIND/NAME, such as sid/payments; the kinds are {known}")
