"""CRDs of other versions of Troth: with a field less, or with fields that this one cannot read."""

import copy
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.person import Manifest, Person, until
from troth.resources.kinds import KINDS, Kind
from troth.resources.metadata import GROUP
from troth.resources.references import Ref

CRD = "CustomResourceDefinition"
REPOSITORY = Path(__file__).parents[4]
VALIDATIONS = "x-kubernetes-validations"
EARLIER = "d0a2d14"
"""A commit of this repository whose CRDs lack fields of today."""
LATER = "later"
"""A field of a newer version."""

Change = Callable[[Manifest], None]


def name_of(kind: Kind) -> str:
    return f"{kind.plural}.{GROUP}"


def schema_of(crd: Manifest) -> Any:
    return crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def without(part: str, field: str) -> Change:
    """Return the change that removes a field of `spec` or `status`, and the rules over it."""

    def change(crd: Manifest) -> None:
        root = schema_of(crd)
        schema = root["properties"][part]
        del schema["properties"][field]
        schema["required"] = [each for each in schema.get("required", ()) if each != field]
        for each in (root, schema):
            rules = each.get(VALIDATIONS, [])
            each[VALIDATIONS] = [rule for rule in rules if f".{field}" not in rule["rule"]]
            for word in (VALIDATIONS, "required"):
                if not each.get(word, True):
                    del each[word]

    return change


def newer(crd: Manifest) -> None:
    """Add a required field to the spec."""
    spec = schema_of(crd)["properties"]["spec"]
    spec["properties"][LATER] = {"type": "string"}
    spec["required"] = [*spec.get("required", ()), LATER]


def replaced_by(other: Manifest) -> Change:
    """Return the change that makes one definition of another."""

    def change(crd: Manifest) -> None:
        crd["spec"] = other["spec"]

    return change


def with_value(*path: str) -> Change:
    """Return the change that adds a value to an enumeration of the spec."""

    def change(crd: Manifest) -> None:
        schema = schema_of(crd)["properties"]["spec"]
        for each in path:
            schema = schema["properties"][each]
        schema["enum"].append(LATER.title())

    return change


def fields_of(kind: Kind, part: str) -> list[str]:
    crd = yaml.load((REPOSITORY / "crds" / f"{kind.plural}.yaml").read_text(), yaml.CSafeLoader)
    return list(schema_of(crd)["properties"][part]["properties"])


def earlier() -> Iterator[tuple[Kind, Manifest]]:
    """Yield the CRDs of an earlier commit; raises `subprocess.CalledProcessError` without it."""
    for kind in KINDS:
        shown = ["git", "show", f"{EARLIER}:crds/{kind.plural}.yaml"]
        text = subprocess.run(shown, cwd=REPOSITORY, check=True, capture_output=True)
        yield kind, yaml.load(text.stdout, yaml.CSafeLoader)


@asynccontextmanager
async def installed(person: Person, changes: dict[str, Change]) -> AsyncIterator[None]:
    """Change CRDs, by kind, until the end. Returns once the API server has stored the change."""
    before = {each: await person.the(CRD, Ref("", _plural(each))) for each in changes}
    try:
        for kind, change in changes.items():
            changed = copy.deepcopy(before[kind])
            change(changed)
            await _replace(person, changed)
        yield
    finally:
        for kind in changes:
            await _replace(person, before[kind])


def _plural(kind: str) -> str:
    return name_of(next(each for each in KINDS if each.name == kind))


async def _replace(person: Person, crd: Manifest) -> None:
    """Store a definition over whatever version is stored, and wait until it is served."""
    ref = Ref("", crd["metadata"]["name"])
    now = await person.the(CRD, ref)
    await person.replace({**now, "spec": crd["spec"]})

    async def serves() -> bool:
        conditions = (await person.the(CRD, ref))["status"]["conditions"]
        return all(
            {"type": each, "status": "True"}.items() <= found.items()
            for each in ("NamesAccepted", "Established")
            for found in conditions
            if found["type"] == each
        )

    await until(serves, bool)
