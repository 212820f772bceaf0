"""`troth graph`: declared edges and grants, as a diagram or as data."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from troth.cli.grants.report import GIVEN, Granted, everything_granted
from troth.cli.inputs import sources
from troth.cli.inputs.declared import declared
from troth.cli.inputs.watched import WatchedNamespaces
from troth.cli.output import structured
from troth.planning.identity.edge_status import describe_unverified
from troth.resources.identity.status import EdgeState
from troth.resources.messaging.topic_policy_status import Action, GrantState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import all_edges
from troth.trust.edges.evaluation import Edge


class Format(StrEnum):
    """Output format of the graph."""

    MERMAID = "mermaid"
    DOT = "dot"
    JSON = "json"
    YAML = "yaml"


def graph(
    files: sources.Files = None,
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
    output: Annotated[
        Format, typer.Option("--output", "-o", help="Output format.")
    ] = Format.MERMAID,
    watched_namespaces: WatchedNamespaces = "",
) -> None:
    """Draw the declared edges and broker grants with their states."""
    declaring = ("TrustDomain", "ServiceIdentity", "MessageBroker", "TopicPolicy")
    kinds = (*declaring, "WebhookEndpoint", "Namespace")
    world = declared(files, kubeconfig, context, kinds, watched_namespaces)
    edges = all_edges(world.registry, datetime.now(UTC))
    grants = tuple(everything_granted(world))
    parts = (world.registry, edges, grants)
    if output in _DRAWERS:
        typer.echo(_DRAWERS[output](*parts), nl=False)
    else:
        typer.echo(structured(document(*parts), output), nl=False)


_LABELS = {
    EdgeState.LIVE: "",
    EdgeState.AWAITING_CALLER: "awaits caller",
    EdgeState.AWAITING_CALLEE: "awaits callee",
    EdgeState.REFUSED: "refused",
    EdgeState.SUSPENDED: "suspended",
}
_GRANT_LABELS = {
    GrantState.AWAITING_POLICY: "awaits policy",
    GrantState.AWAITING_IDENTITY: "awaits identity",
    GrantState.REFUSED: "refused",
    GrantState.SUSPENDED: "suspended",
    GrantState.INACTIVE: "inactive",
}


def _label(edge: Edge) -> str:
    return " · ".join(part for part in (edge.port, _LABELS[edge.state]) if part)


def _grant_label(grant: Granted) -> str:
    group = f"group {grant.group}" if grant.group else ""
    return " · ".join(part for part in (group, _GRANT_LABELS.get(grant.state, "")) if part)


def _drawn(grants: Iterable[Granted]) -> list[Granted]:
    """Return the grants whose topic is known."""
    return [each for each in grants if each.topic is not None]


def _topics(grants: Iterable[Granted]) -> list[str]:
    """Return the topics with their brokers, sorted."""
    return sorted({_topic(each) for each in _drawn(grants)})


def _topic(grant: Granted) -> str:
    return f"{grant.named} at {grant.broker}"


def _nodes(
    registry: Registry, edges: Iterable[Edge], grants: Iterable[Granted]
) -> dict[str, list[Ref]]:
    """Return the identities by namespace, including those that others only name."""
    refs = set(registry.identities)
    refs |= {ref for edge in edges for ref in (edge.caller, edge.callee)}
    refs |= {grant.identity for grant in grants}
    groups: dict[str, list[Ref]] = {}
    for ref in sorted(refs):
        groups.setdefault(ref.namespace, []).append(ref)
    return groups


def _outside(registry: Registry) -> list[tuple[str, Ref, str, str]]:
    """Return the peers that are not identities: (kind, identity, description, ports)."""
    found = []
    for ref, identity in sorted(registry.identities.items()):
        for accepted in identity.spec.accepts:
            if accepted.unverified:
                what = describe_unverified(accepted.unverified)
                found.append(("unverified", ref, what, ", ".join(accepted.ports)))
        for call in identity.spec.calls:
            if call.external:
                ports = ", ".join(str(port) for port in call.external.ports)
                found.append(("external", ref, call.external.host, ports))
            if call.kubernetes_api:
                found.append(("external", ref, "Kubernetes API", ""))
    return found


def _where(registry: Registry, namespace: str) -> str:
    domain = registry.governance(namespace).domain
    return f"{namespace} ({domain.metadata.name})" if domain else f"{namespace} (not governed)"


def mermaid(registry: Registry, edges: Iterable[Edge], grants: Iterable[Granted]) -> str:
    """Return the graph as a Mermaid flowchart; arrows that are not live are dotted."""
    edges, grants = tuple(edges), tuple(grants)
    lines = ["flowchart LR"]
    for namespace, refs in _nodes(registry, edges, grants).items():
        lines.append(f'  subgraph {_id(namespace)}["{_where(registry, namespace)}"]')
        lines += [f'    {_id(str(ref))}["{ref.name}"]' for ref in refs]
        lines.append("  end")
    for edge in edges:
        arrow = "-->" if edge.state is EdgeState.LIVE else "-.->"
        ends = _id(str(edge.caller)), _id(str(edge.callee))
        lines.append(f'  {ends[0]} {arrow}|"{_label(edge)}"| {ends[1]}')
    for number, (kind, ref, what, ports) in enumerate(_outside(registry)):
        node = f'outside{number}(["{what}"])'
        label = f'|"{ports}"| ' if ports else " "
        pair = (node, _id(str(ref))) if kind == "unverified" else (_id(str(ref)), node)
        lines.append(f"  {pair[0]} -->{label}{pair[1]}")
    topics = {topic: f"topic{number}" for number, topic in enumerate(_topics(grants))}
    lines += [f'  {node}[["{topic}"]]' for topic, node in topics.items()]
    for grant in _drawn(grants):
        arrow = "-->" if grant.state in GIVEN else "-.->"
        label = f'|"{_grant_label(grant)}"|' if _grant_label(grant) else ""
        ends = _ends(grant, _id(str(grant.identity)), topics[_topic(grant)])
        lines.append(f"  {ends[0]} {arrow}{label} {ends[1]}")
    return "\n".join(lines) + "\n"


def _ends(grant: Granted, identity: str, topic: str) -> tuple[str, str]:
    """Return source and destination of the messages."""
    return (identity, topic) if grant.action is Action.PUBLISH else (topic, identity)


def dot(registry: Registry, edges: Iterable[Edge], grants: Iterable[Granted]) -> str:
    """Return the graph in Graphviz' DOT language."""
    edges, grants = tuple(edges), tuple(grants)
    styles = {
        EdgeState.LIVE: "solid",
        EdgeState.REFUSED: "dotted",
        EdgeState.SUSPENDED: "dotted",
    }
    lines = ["digraph troth {", "  rankdir=LR; node [shape=box];"]
    for namespace, refs in _nodes(registry, edges, grants).items():
        lines.append(f'  subgraph "cluster_{namespace}" {{')
        lines.append(f'    label="{_where(registry, namespace)}";')
        lines += [f'    "{ref}" [label="{ref.name}"];' for ref in refs]
        lines.append("  }")
    for edge in edges:
        style = styles.get(edge.state, "dashed")
        ends = f'"{edge.caller}" -> "{edge.callee}"'
        lines.append(f'  {ends} [label="{_label(edge)}", style={style}];')
    for kind, ref, what, ports in _outside(registry):
        pair = (what, str(ref)) if kind == "unverified" else (str(ref), what)
        lines.append(f'  "{what}" [shape=ellipse];')
        lines.append(f'  "{pair[0]}" -> "{pair[1]}" [label="{ports}"];')
    lines += [f'  "{topic}" [shape=cds];' for topic in _topics(grants)]
    for grant in _drawn(grants):
        style = "solid" if grant.state in GIVEN else "dashed"
        pair = _ends(grant, str(grant.identity), _topic(grant))
        label = f'label="{_grant_label(grant)}", style={style}'
        lines.append(f'  "{pair[0]}" -> "{pair[1]}" [{label}];')
    return "\n".join([*lines, "}"]) + "\n"


def document(
    registry: Registry, edges: Iterable[Edge], grants: Iterable[Granted]
) -> dict[str, Any]:
    """Return the graph as JSON: `identities`, `edges`, `outside`, `grants`."""
    edges, grants = tuple(edges), tuple(grants)
    return {
        "identities": [
            {
                "namespace": ref.namespace,
                "name": ref.name,
                "trustDomain": domain.metadata.name
                if (domain := registry.governance(ref.namespace).domain)
                else None,
                "declared": ref in registry.identities,
            }
            for refs in _nodes(registry, edges, grants).values()
            for ref in refs
        ],
        "edges": [
            {
                "caller": str(edge.caller),
                "callee": str(edge.callee),
                "port": edge.port,
                "state": edge.state.value,
            }
            | ({"reason": edge.reason, "message": edge.message} if edge.reason else {})
            for edge in edges
        ],
        "outside": [
            {"kind": kind, "identity": str(ref), "what": what, "ports": ports}
            for kind, ref, what, ports in _outside(registry)
        ],
        "grants": [grant.document() for grant in grants],
    }


def _id(text: str) -> str:
    """Return a name as a Mermaid identifier; unique, because names have no underscore."""
    return "n_" + text.replace("/", "__").replace(".", "_d_").replace("-", "_h_")


_DRAWERS = {Format.MERMAID: mermaid, Format.DOT: dot}
