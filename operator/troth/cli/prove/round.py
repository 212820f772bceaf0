"""One round of proofs in a cluster: read, plan, probe, judge, write."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from troth.audit.proving.choice import due, in_order
from troth.audit.proving.plan import Options, plan_probes
from troth.audit.proving.probe import Plan, Probe, Target
from troth.audit.proving.round import Pod, Round
from troth.audit.proving.verdict import proof
from troth.cli.inputs.access import CONFLICT, NOT_FOUND
from troth.cli.inputs.declared import observed
from troth.cli.inputs.watched import check_watched, watched_by
from troth.cli.prove.pods import Runner, Server
from troth.cluster.errors import ApiError
from troth.documents.probes import LABEL
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.resources.reported import MOST_PROOFS, Proof, ProofResult
from troth.trust.declarations.registry import Registry
from troth.trust.selectors import matches

MANAGER = "troth-prover"
"""Field manager of `status.proofs`."""
KINDS = ("Namespace", "TrustDomain", "ServiceIdentity", "WebhookEndpoint")

_IDENTITY = "ServiceIdentity"


@dataclass(frozen=True, slots=True)
class Request:
    """What to prove."""

    namespace: str = ""
    identity: Ref | None = None
    scheduled: bool = False
    """Whether to prove only what a TrustDomain asks for and is due."""
    options: Options = field(default_factory=lambda: Options(""))


class Backend(NamedTuple):
    """Pod of a callee that is probed. A pod of another UID or address is another one."""

    uid: str
    address: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Proven:
    """The proofs of a round, by callee."""

    proofs: dict[Ref, list[Proof]] = field(default_factory=dict)
    omitted: tuple[Ref, ...] = ()
    seed: str = ""
    cut: dict[Ref, int] = field(default_factory=dict)
    """Numbers of probes of callees for which there was no room."""

    @property
    def disproven(self) -> bool:
        """Whether anything is not as declared."""
        every = (each for proofs in self.proofs.values() for each in proofs)
        return any(each.result is ProofResult.DISPROVEN for each in every)

    def manifest(self) -> dict[str, Any]:
        """Return the proofs as a document."""
        return {
            "seed": self.seed,
            "omitted": [str(each) for each in self.omitted],
            "cut": {str(callee): number for callee, number in self.cut.items()},
            "proofs": [
                {"callee": str(callee), **each.manifest()}
                for callee, proofs in self.proofs.items()
                for each in proofs
            ],
        }


async def read_registry(server: Server, own_namespace: str) -> Registry:
    """Return what the cluster declares in the namespaces that Troth watches."""
    objects = [each for kind in KINDS for each in await server.listed(kind)]
    watched = watched_by("", objects, own_namespace)
    return observed(objects, watched, own_namespace).registry


def planned(registry: Registry, request: Request, now: datetime) -> Plan:
    """Return the probes of a round.

    Raises `FaultyManifests` if the identity does not exist, or Troth does not watch the namespace.
    """
    here = request.identity.namespace if request.identity is not None else request.namespace
    check_watched([here] if here else (), registry.watched)
    if request.identity is not None and request.identity not in registry.identities:
        sentence = "not found, or not readable; see `troth status`"
        raise FaultyManifests([ManifestFault("", f"{_IDENTITY} {request.identity}", "", sentence)])
    options = request.options
    callees = in_order(registry, options.seed)
    if request.scheduled:
        samples = {ref: settings.sample for ref, settings in due(registry, now)}
        callees = [each for each in callees if each in samples]
        options = Options(
            options.seed, most=options.most, own_namespace=options.own_namespace, samples=samples
        )
    chosen = [
        each
        for each in callees
        if request.identity in (None, each) and request.namespace in ("", each.namespace)
    ]
    return plan_probes(registry, chosen, now, options)


async def backends(server: Server, registry: Registry, plan: Plan) -> dict[Ref, Backend]:
    """Return a Ready pod of each callee that has one: the first by name."""
    found: dict[Ref, Backend] = {}
    wanted = plan.callees
    for namespace in dict.fromkeys(each.namespace for each in wanted):
        pods = await server.listed("Pod", namespace)
        pods.sort(key=lambda pod: str(pod["metadata"]["name"]))
        for callee in (each for each in wanted if each.namespace == namespace):
            selector = registry.identities[callee].spec.workload.pod_selector
            for pod in pods:
                labels = pod["metadata"].get("labels") or {}
                if matches(selector, labels) and _is_ready(pod):
                    found[callee] = _backend(pod)
                    break
    return found


def _is_ready(pod: Manifest) -> bool:
    status, metadata = pod.get("status") or {}, pod["metadata"]
    conditions = status.get("conditions") or []
    return (
        LABEL not in (metadata.get("labels") or {})
        and "deletionTimestamp" not in metadata
        and status.get("phase") == "Running"
        and bool(status.get("podIP"))
        and any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    )


def _backend(pod: Manifest) -> Backend:
    status = pod["status"]
    restarts = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ())
    return Backend(pod["metadata"]["uid"], status["podIP"], restarts)


async def prove_all(  # noqa: PLR0917 - the parts of a round
    server: Server,
    registry: Registry,
    plan: Plan,
    runner: Runner,
    request: Request,
    say: Callable[[str], None],
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Proven:
    """Carry out a plan and write the proofs, batch by batch, so that those written stay if it is
    interrupted. Each batch has a time budget, and what was seen in it is written.

    `say` gets a line for each failed Job and each callee without its proofs.
    """
    proofs: dict[Ref, list[Proof]] = {}
    for batch in plan.batches():
        found = await carry_out(server, registry, batch, runner, say)
        proven = judged(registry, batch, found, clock(), request)
        await write(server, registry, proven, say)
        proofs |= proven.proofs
    return Proven(proofs, plan.omitted, request.options.seed, plan.cut)


async def carry_out(
    server: Server,
    registry: Registry,
    plan: Plan,
    runner: Runner,
    say: Callable[[str], None],
) -> Round:
    """Run the pods of a round; return what they saw. `say` gets a line for each failed Job."""
    runner.begin()
    before = await backends(server, registry, plan)
    targets = dict.fromkeys(each.target for each in plan.probes)
    addresses = {each: before[each.callee].address for each in targets if each.callee in before}
    found = Round(addresses)
    for step in (found.first, found.second, found.third):
        await _step(step(plan.probes), runner, found, say)
    after = await backends(server, registry, plan)
    for target in addresses:
        if after.get(target.callee) != before[target.callee]:
            found.drop(target, "the callee's pod was replaced, restarted or not Ready meanwhile")
    return found


async def _step(
    pods: Iterable[Pod], runner: Runner, found: Round, say: Callable[[str], None]
) -> None:
    for pod, result in await runner.results(pods):
        found.take(pod, result.report, result.reason)
        if result.detail:
            say(f"probes as {pod.caller or 'a pod without an identity'}: {result.detail}")


def judged(registry: Registry, plan: Plan, found: Round, now: datetime, request: Request) -> Proven:
    """Return the proofs of a round. Without a probe, a callee loses those that it has."""
    probed = {each.target.callee for each in plan.probes}
    proofs: dict[Ref, list[Proof]] = {
        each: []
        for each in plan.callees
        if each in probed or registry.identities[each].status.proofs
    }
    by_target: dict[Target, list[Probe]] = {}
    for each in plan.probes:
        by_target.setdefault(each.target, []).append(each)
    for each in plan.probes:
        observed = found.observed(each, by_target[each.target])
        own = request.options.own_namespace
        proofs[each.target.callee].append(proof(each, observed, now, own))
    return Proven(proofs)


async def write(
    server: Server, registry: Registry, proven: Proven, say: Callable[[str], None]
) -> None:
    """Write the proofs into the statuses of the callees that were probed and still exist."""
    for callee, proofs in proven.proofs.items():
        status = {"proofs": [each.manifest() for each in proofs[:MOST_PROOFS]]}
        uid = registry.identities[callee].metadata.uid
        manifest = {
            "apiVersion": API_VERSION,
            "kind": _IDENTITY,
            "metadata": {**callee._asdict(), **({"uid": uid} if uid else {})},
            "status": status,
        }
        try:
            await server.apply_status(manifest, MANAGER)
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise
            say(f"{callee}: its proofs are not written, because it was deleted meanwhile")
