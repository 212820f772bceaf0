"""Processor time of kube-apiserver and etcd for each of the four writes of an identity.

The writes are copies of what a person and Troth wrote for one identity of a settled fleet. Variants
of the CRD, each in a group of its own, and other kinds of write show what the time is spent on.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mean, median

import yaml

from benchmarks.fleet.topology import NAMESPACE, Manifest, declarations, name, path
from benchmarks.harness.client import APPLY, CREATE, MERGE, REPLACE, WARN, Bare, Write
from benchmarks.harness.control_plane import api_server, apply, control_plane
from benchmarks.harness.cores import processor_seconds
from benchmarks.harness.operator import leading, running, settled
from benchmarks.harness.report import Figure, Report
from sandbox import Sandbox
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.metadata import VERSION
from troth.resources.references import Ref
from troth.resources.schema.rules import VALIDATIONS

CRD = Path("crds/serviceidentities.yaml")
IDENTITY, PLURAL = "ServiceIdentity", "serviceidentities"
OWNED = {"Secret": "v1", "NetworkPolicy": "networking.k8s.io/v1"}
SERVERS = ("kube-apiserver", "etcd")
RING = 10
"""Number of identities with edges, beside one that has none."""
ROUNDS = 10
WRITES = 50
"""Number of writes of each side in a round. A further round is the warm-up."""
AIM = 11.0
"""Maximum time in milliseconds of the four writes of an identity with edges."""
IDLE = 0.05
"""Share of a core below which the servers count as idle."""
NOTE = (
    "Processor time of kube-apiserver and etcd for one write. An identity with edges has 4 callers "
    "and 4 callees. The variants of the CRD and of the writes show what the time is spent on; "
    "`shipped again` differs in nothing from `shipped`. In some rounds the servers do other work, "
    "such as garbage collections. So a figure is the median of its rounds, and what such work "
    "adds to a write is a figure of its own."
)


def reports(rounds: int = ROUNDS, writes: int = WRITES) -> Iterator[Report]:
    """Measure on a control plane of its own, without controllers."""
    with control_plane(NAMESPACE, controllers=False) as sandbox:
        figures = _measured(sandbox, rounds, writes)
        yield Report("Server time of an identity", note=NOTE, figures=figures)


# Variants of the CRD


def without_rules(schema: Manifest) -> Manifest:
    """Return a schema without CEL rules."""
    return _each_part(schema, lambda part: part.pop(VALIDATIONS, None))


def with_atomic_lists(schema: Manifest) -> Manifest:
    """Return a schema in which no list of the status is merged."""

    def change(part: Manifest) -> None:
        if part.get("type") == "array":
            part.pop("x-kubernetes-list-map-keys", None)
            part["x-kubernetes-list-type"] = "atomic"

    status = _each_part(schema["properties"]["status"], change)
    return {**schema, "properties": {**schema["properties"], "status": status}}


def with_opaque_status(schema: Manifest) -> Manifest:
    """Return a schema that does not describe the status."""
    return {**schema, "properties": {**schema["properties"], "status": _OPAQUE}}


def without_schema(_: Manifest) -> Manifest:
    """Return a schema that describes neither the spec nor the status."""
    return {"type": "object", "properties": {"spec": _OPAQUE, "status": _OPAQUE}}


_OPAQUE = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _each_part(schema: Manifest, change: Callable[[Manifest], object]) -> Manifest:
    """Return a copy of a schema after `change` of each of its parts."""
    changed = deepcopy(schema)

    def visit(part: Manifest) -> None:
        change(part)
        below = [part[word] for word in ("items", "additionalProperties") if word in part]
        for each in (*part.get("properties", {}).values(), *below):
            visit(each)

    visit(changed)
    return changed


SHIPPED, CREATED, APPLIED = "shipped", "created", "applied"
SCHEMAS: Mapping[str, Callable[[Manifest], Manifest]] = {
    SHIPPED: lambda schema: schema,
    "shipped again": lambda schema: schema,
    "without rules": without_rules,
    "atomic status lists": with_atomic_lists,
    "opaque status": with_opaque_status,
    "no schema": without_schema,
}
"""What a variant does to the CRD's schema."""
KEPT = (CREATED, APPLIED)
"""Variants with the shipped schema, which are written in another way."""


def variant(named: str, crd: Manifest) -> Manifest:
    """Return the CRD of a variant: the shipped one with another group and schema."""
    made, group = deepcopy(crd), _group(named)
    made["metadata"]["name"] = f"{PLURAL}.{group}"
    made["spec"]["group"] = group
    made["spec"]["names"] |= {"shortNames": [], "categories": []}
    (version,) = made["spec"]["versions"]
    change = SCHEMAS.get(named, SCHEMAS[SHIPPED])
    version["schema"] = {"openAPIV3Schema": change(version["schema"]["openAPIV3Schema"])}
    return made


def _group(named: str) -> str:
    return f"{named.replace(' ', '-')}.bench.example"


# Writes


@dataclass(frozen=True, slots=True)
class Template:
    """An identity with its owned objects, as a person and Troth wrote them."""

    identity: Manifest
    owned: Mapping[str, Manifest]

    def declaration(self, group: str, named: str, kind: str = APPLY) -> Write:
        """Return the write that declares the identity."""
        body = self._identity(group, named) | {"spec": self.identity["spec"]}
        return Write(_path(group, "" if kind == CREATE else named), body, kind, WARN)

    def status(self, group: str, named: str, kind: str = MERGE) -> Write:
        """Return the write of the status."""
        body: Manifest = {} if kind == MERGE else self._identity(group, named)
        if kind == REPLACE:
            body["spec"] = self.identity["spec"]
        body["status"] = self.identity["status"]
        return Write(f"{_path(group, named)}/status", body, kind)

    def owned_object(self, of_kind: str, named: str, kind: str = APPLY) -> Write:
        """Return the write that creates an owned object."""
        found = self.owned[of_kind]
        parts = ("labels", "annotations", "ownerReferences")
        metadata = {part: found["metadata"][part] for part in parts}
        body: Manifest = {
            "apiVersion": OWNED[of_kind],
            "kind": of_kind,
            "metadata": {"name": named, "namespace": NAMESPACE, **metadata},
            **{part: found[part] for part in ("type", "data", "spec") if part in found},
        }
        return Write(path(of_kind, object_name="" if kind == CREATE else named), body, kind)

    def _identity(self, group: str, named: str) -> Manifest:
        return {
            "apiVersion": f"{group}/{VERSION}",
            "kind": IDENTITY,
            "metadata": {"name": named, "namespace": NAMESPACE},
        }


def _path(group: str, named: str) -> str:
    place = f"/apis/{group}/{VERSION}/namespaces/{NAMESPACE}/{PLURAL}"
    return f"{place}/{named}" if named else place


Side = Callable[[str], Write]
"""Returns a write of the object of a name."""


def groups(template: Template) -> Iterator[Sequence[tuple[str, Side]]]:
    """Yield the sides of one template by their names; a declaration precedes its status."""
    for each in SCHEMAS:
        yield (
            (f"declaration, {each}", partial(template.declaration, _group(each))),
            (f"status, {each}", partial(template.status, _group(each))),
        )
    created, applied = _group(CREATED), _group(APPLIED)
    yield (
        ("declaration, POST", partial(template.declaration, created, kind=CREATE)),
        ("status, PUT", partial(template.status, created, kind=REPLACE)),
    )
    yield (
        ("declaration, applied", partial(template.declaration, applied)),
        ("status, applied", partial(template.status, applied, kind=APPLY)),
    )
    for kind in OWNED:
        yield (
            (kind, partial(template.owned_object, kind)),
            (f"{kind}, parsed twice", partial(_parsed_twice, template, kind)),
            (f"{kind}, POST", partial(_posted, template, kind)),
        )


def in_turn(template: Template, number: int) -> Iterator[tuple[str, Side]]:
    """Return the sides for a round, which begins with another group each time.

    So what the servers do from time to time, such as garbage collections, falls into all sides.
    """
    found = list(groups(template))
    first = number % len(found)
    return chain.from_iterable(found[first:] + found[:first])


def _parsed_twice(template: Template, kind: str, named: str) -> Write:
    return replace(template.owned_object(kind, f"{named}-parsed-twice"), validation=WARN)


def _posted(template: Template, kind: str, named: str) -> Write:
    return template.owned_object(kind, f"{named}-posted", CREATE)


# Measurement


def _measured(sandbox: Sandbox, rounds: int, writes: int) -> list[Figure]:
    crd = yaml.safe_load(CRD.read_text())
    apply(sandbox, [*_fleet(), *(variant(each, crd) for each in (*SCHEMAS, *KEPT))])
    sandbox.await_crds()
    spent = asyncio.run(_spent(sandbox, rounds, writes))
    return [*_figures(spent)]


def _fleet() -> Iterator[Manifest]:
    ring = list(declarations(RING))
    alone = deepcopy(ring[-1])
    alone["metadata"]["name"] = name(RING)
    workload = {"serviceAccountName": name(RING), "podSelector": {"matchLabels": {"app": "alone"}}}
    alone["spec"] = {**alone["spec"], "accepts": [], "calls": []}
    alone["spec"]["workload"] = alone["spec"]["workload"] | workload
    return chain(ring, [alone])


Spent = Mapping[tuple[str, str], Sequence[float]]
"""Milliseconds of one write in each round, by edges and side."""


async def _spent(sandbox: Sandbox, rounds: int, writes: int) -> Spent:
    pids = [sandbox.control_plane.pids[each] for each in SERVERS]
    spent: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    async with Bare.connect(sandbox.kubeconfig) as bare:
        templates = await _templates(sandbox, bare)
        for number in range(1 + rounds):
            for edges, template in templates.items():
                for what, side in in_turn(template, number):
                    names = [f"w{number}-{edges[:1]}-{each}" for each in range(writes)]
                    await _idle(pids)
                    spent[edges, what].append(await _turn(bare, side, names, pids))
    return {each: times[1:] for each, times in spent.items()}


async def _templates(sandbox: Sandbox, bare: Bare) -> Mapping[str, Template]:
    """Return the templates by their edges, from a fleet that Troth has settled."""
    async with api_server(sandbox) as counted, running(counted.server) as operator:
        await leading(operator)
        await settled(operator, RING + 1)
    refs = {"4 edges": Ref(NAMESPACE, name(0)), "0 edges": Ref(NAMESPACE, name(RING))}
    return {edges: await _template(bare, ref) for edges, ref in refs.items()}


async def _template(bare: Bare, ref: Ref) -> Template:
    owned = {"Secret": secret_ref(ref), "NetworkPolicy": policy_ref(ref)}
    return Template(
        await bare.get(path(IDENTITY, object_name=ref.name)),
        {kind: await bare.get(path(kind, object_name=each.name)) for kind, each in owned.items()},
    )


async def _turn(bare: Bare, side: Side, names: Sequence[str], pids: Sequence[int]) -> float:
    """Return the milliseconds of one write."""
    writes = [await _versioned(bare, side(each)) for each in names]
    began = _processor_seconds(pids)
    await bare.send(writes)
    return (_processor_seconds(pids) - began) * 1e3 / len(writes)


async def _versioned(bare: Bare, write: Write) -> Write:
    """Return a write that names the current version of the object that it replaces."""
    if write.kind != REPLACE:
        return write
    version = (await bare.get(write.path))["metadata"]["resourceVersion"]
    metadata = {**write.body["metadata"], "resourceVersion": version}
    return replace(write, body={**write.body, "metadata": metadata})


def _processor_seconds(pids: Sequence[int]) -> float:
    return sum(map(processor_seconds, pids))


async def _idle(pids: Sequence[int]) -> None:
    """Wait until the servers have finished what is no part of a write, such as compiling a CRD."""
    pause = 0.2
    while True:
        before = _processor_seconds(pids)
        await asyncio.sleep(pause)
        if _processor_seconds(pids) - before < IDLE * pause:
            return


def _figures(spent: Spent) -> Iterator[Figure]:
    for edges in ("4 edges", "0 edges"):
        own = {what: median(times) for (each, what), times in spent.items() if each == edges}
        parts = (f"declaration, {SHIPPED}", *OWNED, f"status, {SHIPPED}")
        total = sum(own[part] for part in parts)
        aim = AIM if edges == "4 edges" else None
        yield Figure(f"{edges}: all four writes", total, "ms", aim)
        for what, value in own.items():
            yield Figure(f"{edges}: {what}", value, "ms")
    above = (mean(times) - median(times) for times in spent.values())
    yield Figure("what other work of the servers adds to a write", mean(above), "ms")
