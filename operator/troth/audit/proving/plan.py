"""The plan of a round: a bounded list of probes, from what is declared.

The same seed and the same declarations give the same probes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256

from troth.audit.proving.probe import PROBER, Caller, Plan, Probe, ProbeName, Target
from troth.audit.proving.reach import is_isolated, labels_for, labels_of, may_connect
from troth.audit.proving.room import fitting
from troth.documents.probes import Instruction, is_path
from troth.pki.spiffe import spiffe_id
from troth.resources.identity.authentication import ProofOfPossession
from troth.resources.identity.spec import Port, Protocol, ServiceIdentity
from troth.resources.identity.status import Direction, EdgeState
from troth.resources.references import Ref
from troth.resources.reported import MOST_PROOFS, Expectation, Layer
from troth.resources.selectors import LabelSelector
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import all_edges
from troth.trust.edges.evaluation import Edge
from troth.trust.edges.scopes import audience_of

PATH = "troth.dev/probe-path"
"""Annotation of a ServiceIdentity with the path that probes request."""
SAMPLE, IN_ALL = 5, 1000
"""Default number of pairs without an edge for each callee, and of probes in all."""

_OPEN = frozenset({EdgeState.LIVE, EdgeState.SUSPENDED})
"""States in which an edge is, or may be, open. A pair in another state must fail."""


@dataclass(frozen=True, slots=True)
class Options:
    """How many probes, and which of those that are possible."""

    seed: str
    sample: int = SAMPLE
    samples: Mapping[Ref, int] = field(default_factory=dict)
    """Number of such pairs of some callees, instead of `sample`."""
    most: int = IN_ALL
    own_namespace: str = "troth-system"


def plan_probes(
    registry: Registry, callees: Sequence[Ref], now: datetime, options: Options
) -> Plan:
    """Return the probes of some callees, in their order, until there are `options.most`.

    A callee's proofs replace all that it has, so it has all of its probes or none. Only if it has
    more than its status or the round has room for, `fitting` chooses.
    """
    planner = _Planner(registry, now, options)
    probes: list[Probe] = []
    included: list[Ref] = []
    omitted: list[Ref] = []
    cut: dict[Ref, int] = {}
    for callee in callees:
        every = list(planner.probes_of(registry.identities[callee]))
        found = fitting(every, min(MOST_PROOFS, options.most), planner.rank)
        if len(probes) + len(found) > options.most:
            omitted.append(callee)
            continue
        included.append(callee)
        probes += found
        if len(found) < len(every):
            cut[callee] = len(every) - len(found)
    callers = {each.caller: planner.caller(each.caller) for each in probes if not each.obstacle}
    return Plan(tuple(included), tuple(probes), callers, tuple(omitted), cut)


@dataclass(slots=True)
class _Planner:
    registry: Registry
    now: datetime
    options: Options
    live: list[Edge] = field(init=False)
    """Edges that are live by the declarations."""
    reported: dict[tuple[str, Ref, str], EdgeState] = field(init=False)
    """States of edges in the statuses of their callees."""
    open: set[tuple[Ref, Ref, str]] = field(init=False)
    """Edges that are open by the declarations."""
    _callers: dict[Ref | None, tuple[Caller, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        edges = all_edges(self.registry, self.now)
        self.live = [each for each in edges if each.state is EdgeState.LIVE]
        self.reported = {
            (each.peer, ref, port): each.state
            for ref, identity in self.registry.identities.items()
            for each in identity.status.edges
            if each.direction is Direction.INBOUND
            for port in each.ports
        }
        self.open = {(each.caller, each.callee, each.port) for each in edges if each.state in _OPEN}

    # Callers

    def caller(self, ref: Ref | None) -> Caller:
        """Return what a pod of an identity, or the one without, needs."""
        return self._known(ref)[0]

    def _known(self, ref: Ref | None) -> tuple[Caller, str]:
        """Return a caller, and why no pod can be taken for one of it."""
        if ref not in self._callers:
            self._callers[ref] = self._caller(ref)
        return self._callers[ref]

    def _caller(self, ref: Ref | None) -> tuple[Caller, str]:
        if ref is None:
            labels = labels_for(LabelSelector(match_labels={"app.kubernetes.io/name": PROBER}))
            return Caller(self.options.own_namespace, "default", labels or {}, ""), ""
        labels, obstacle = labels_of(self.registry, ref)
        domain = self.registry.governance(ref.namespace).domain
        bundle = domain.spec.bundle.config_map_name if domain else ""
        account = self.registry.identities[ref].spec.workload.service_account_name
        return Caller(ref.namespace, account, labels, bundle), obstacle

    # Probes

    def probes_of(self, callee: ServiceIdentity) -> Iterator[Probe]:
        """Yield the probes of one callee: its live edges first, the sampled pairs last."""
        for port in callee.spec.workload.ports:
            if port.protocol is Protocol.TCP:
                yield from self._of_port(callee, port)
        yield from self._undeclared(callee)

    def _of_port(self, callee: ServiceIdentity, port: Port) -> Iterator[Probe]:
        callers = [
            each.caller
            for each in self.live
            if each.callee == callee.ref and each.port == port.name
        ]
        for caller in callers:
            yield self._declared(callee, port, caller)
        if callers and callee.spec.authentication.certificate is not None:
            yield from self._presentations(callee, port, self._first(callers, callee, port.name))

    def _declared(self, callee: ServiceIdentity, port: Port, caller: Ref) -> Probe:
        ask = self._request(callee, port, passes=True)
        layer = Layer.APPLICATION
        if callee.spec.authentication.certificate is not None:
            ask = replace(ask, certificate=caller.name)
        if callee.spec.authentication.token is not None:
            audience = audience_of(callee, self._spiffe_id(callee))
            ask = replace(ask, audience=audience, holder=caller.name)
        probe = self._probe(ProbeName.DECLARED_EDGE, callee, port, caller, layer, ask)
        state = self._state(caller, callee.ref, port.name)
        visited = callee.status.observed_generation is not None
        if visited and state is not EdgeState.LIVE and not probe.obstacle:
            said = state.value if state else "not there"
            probe = replace(probe, obstacle=f"the edge is {said} in the status of the callee")
        return probe

    def _presentations(self, callee: ServiceIdentity, port: Port, caller: Ref) -> Iterator[Probe]:
        """Yield probes with credentials that must be rejected, from a caller that may connect."""
        ask = self._request(callee, port, passes=False)
        own = replace(ask, certificate=caller.name)
        token = callee.spec.authentication.token
        claimed = self._spiffe_id(self.registry.identities[caller])
        if token is None:
            forged, layer = replace(ask, claimed=claimed), Layer.TRANSPORT
        else:
            forged, layer = replace(own, claimed=claimed), Layer.TOKEN
        yield self._probe(ProbeName.FORGED_HEADERS, callee, port, caller, layer, forged)
        if token is not None:
            for holder, audience in self._other_token(callee, caller):
                other = replace(own, audience=audience, holder=holder.name)
                yield self._probe(ProbeName.OTHER_TOKEN, callee, port, caller, layer, other)
        if token is None or token.proof_of_possession is ProofOfPossession.REQUIRED:
            name = ProbeName.NO_CERTIFICATE
            yield self._probe(name, callee, port, caller, Layer.TRANSPORT, ask)
        strangers = [
            each
            for each in self._beside(caller)
            if each != callee.ref and not self._is_open(each, callee.ref, port.name)
        ]
        if strangers:
            other = replace(ask, certificate=self._first(strangers, callee, port.name).name)
            name = ProbeName.OTHER_CERTIFICATE
            yield self._probe(name, callee, port, caller, Layer.TRANSPORT, other)

    def _other_token(self, callee: ServiceIdentity, caller: Ref) -> Iterator[tuple[Ref, str]]:
        """Yield at most one holder and audience of a token that the callee must reject.

        The issuer issues a token only for a live edge: one of the caller to another callee, else
        one of another identity of its namespace, whose Secret the pod can mount as well.
        """
        peers = [caller, *self._beside(caller)]
        for holder in peers:
            for edge in self.live:
                target = self.registry.identities[edge.callee]
                elsewhere = edge.callee != callee.ref or holder != caller
                if edge.caller != holder or not elsewhere or holder == callee.ref:
                    continue
                if target.spec.authentication.token is not None:
                    yield holder, audience_of(target, self._spiffe_id(target))
                    return

    def _undeclared(self, callee: ServiceIdentity) -> Iterator[Probe]:
        """Yield a sample of the pairs that must fail, and the pod without an identity."""
        ports = [each for each in callee.spec.workload.ports if each.protocol is Protocol.TCP]
        found = [
            (caller, port)
            for port in ports
            for caller in self.registry.identities
            if caller != callee.ref and self._must_fail(callee, port, caller)
        ]
        found.sort(key=lambda pair: self._rank(callee.ref, pair[1].name, pair[0]))
        sample = self.options.samples.get(callee.ref, self.options.sample)
        for caller, port in found[:sample]:
            if is_isolated(self.registry, callee, caller):
                ask, layer = self._connection(port), Layer.NETWORK
            else:
                ask, layer = self._request(callee, port, passes=False), Layer.TRANSPORT
                ask = replace(ask, certificate=caller.name)
            yield self._probe(ProbeName.UNDECLARED_EDGE, callee, port, caller, layer, ask)
        for port in ports if sample else ():
            if is_isolated(self.registry, callee, None) and not self._may_connect(
                callee, port, None
            ):
                ask = self._connection(port)
                name = ProbeName.UNDECLARED_EDGE
                yield self._probe(name, callee, port, None, Layer.NETWORK, ask)

    def _must_fail(self, callee: ServiceIdentity, port: Port, caller: Ref) -> bool:
        if self._is_open(caller, callee.ref, port.name) or self._may_connect(callee, port, caller):
            return False
        presents = self.registry.identities[caller].spec.authentication.certificate is not None
        verifies = callee.spec.authentication.certificate is not None
        return (presents and verifies) or is_isolated(self.registry, callee, caller)

    def _may_connect(self, callee: ServiceIdentity, port: Port, caller: Ref | None) -> bool:
        pod = self.caller(caller)
        return may_connect(self.registry, callee, port.name, pod.namespace, pod.labels, self.now)

    def _state(self, caller: Ref, callee: Ref, port: str) -> EdgeState | None:
        """Return the state of an edge in the status of its callee, None if it has none."""
        return self.reported.get((str(caller), callee, port))

    def _is_open(self, caller: Ref, callee: Ref, port: str) -> bool:
        """Return whether an edge may be open: the operator may not have closed it yet."""
        reported = self._state(caller, callee, port)
        return (caller, callee, port) in self.open or reported in _OPEN

    def _beside(self, caller: Ref) -> list[Ref]:
        """Return the other identities of a caller's namespace that have a certificate."""
        return [
            each
            for each in sorted(self.registry.identities_in(caller.namespace) - {caller})
            if self.registry.identities[each].spec.authentication.certificate is not None
        ]

    # Parts

    def _probe(  # noqa: PLR0917 - the parts of a probe
        self,
        name: ProbeName,
        callee: ServiceIdentity,
        port: Port,
        caller: Ref | None,
        layer: Layer,
        ask: Instruction,
    ) -> Probe:
        target = Target(callee.ref, port.name)
        if caller is not None and ask.server:
            ask = replace(ask, roots=caller.name)
        expected = Expectation.PASSES if ask.passes else Expectation.FAILS
        obstacle = self._known(caller)[1]
        return Probe(name, target, caller, expected, layer, ask, obstacle)

    def _connection(self, port: Port) -> Instruction:
        return Instruction("", port.port, passes=False)

    def _request(self, callee: ServiceIdentity, port: Port, *, passes: bool) -> Instruction:
        verified = callee.spec.authentication.certificate is not None
        server = self._spiffe_id(callee) if verified else ""
        path = callee.metadata.annotations.get(PATH, "/")
        usable = path if is_path(path) else "/"
        return Instruction("", port.port, request=True, server=server, path=usable, passes=passes)

    def _spiffe_id(self, identity: ServiceIdentity) -> str:
        domain = self.registry.governance(identity.ref.namespace).domain
        account = identity.spec.workload.service_account_name
        return spiffe_id(domain.spec.domain, identity.ref.namespace, account) if domain else ""

    def _first(self, refs: Iterable[Ref], callee: ServiceIdentity, port: str) -> Ref:
        return min(refs, key=lambda each: self._rank(callee.ref, port, each))

    def rank(self, probe: Probe) -> str:
        """Return the place of a probe of a live edge among those of its port."""
        callee, port = probe.target.callee, probe.target.port
        return self._rank(callee, port, probe.caller) if probe.caller else ""

    def _rank(self, callee: Ref, port: str, caller: Ref) -> str:
        """Return a text by which pairs are ordered as the seed shuffles them."""
        text = "\n".join((self.options.seed, str(callee), port, str(caller)))
        return sha256(text.encode()).hexdigest()
