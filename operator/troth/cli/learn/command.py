"""`troth learn`: drafts ServiceIdentities and edges from what a cluster and its traffic show."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import AGENT_NAMESPACE, OWN_NAMESPACE, AgentNamespace, OwnNamespace
from troth.cli.inputs.watched import WatchedNamespaces, check_watched, watched_by

if TYPE_CHECKING:
    from troth.audit.scene import Scene
    from troth.audit.traffic.agent_lines import AgentLog

TrafficFiles = Annotated[
    list[Path] | None,
    typer.Option("--traffic", help="Traffic that --save-traffic wrote; repeatable."),
]
AgentFiles = Annotated[
    list[Path] | None,
    typer.Option("--agent-log", help="Log of a node agent, as kubectl logs prints it; repeatable."),
]
HubbleFiles = Annotated[
    list[Path] | None,
    typer.Option("--hubble", help="Output of hubble observe -o json; repeatable."),
]
CalicoFiles = Annotated[
    list[Path] | None, typer.Option("--calico", help="Calico's flow log; repeatable.")
]

NOTHING = (
    "nothing to draft: no workload was found that needs a ServiceIdentity, and no edge that is "
    "not declared"
)


def learn(
    files: sources.Files = None,
    *,
    namespaces: Annotated[
        list[str] | None,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace to draft; repeatable. Defaults to all that Troth watches.",
        ),
    ] = None,
    from_agents: Annotated[
        bool, typer.Option("--from-agents", help="Read the logs of the chart's node agents.")
    ] = False,
    agent_namespace: AgentNamespace = AGENT_NAMESPACE,
    traffic: TrafficFiles = None,
    agent_log: AgentFiles = None,
    hubble: HubbleFiles = None,
    calico: CalicoFiles = None,
    save_traffic: Annotated[
        Path | None, typer.Option(help="File to write the traffic to, as JSON.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(help="Folder for the drafts, one file for each namespace. Default: print."),
    ] = None,
    own_namespace: OwnNamespace = OWN_NAMESPACE,
    watched_namespaces: WatchedNamespaces = "",
    kubeconfig: sources.Kubeconfig = None,
    context: sources.Context = None,
) -> None:
    """Draft ServiceIdentities for workloads that have none, with the edges that something shows.

    Edges come from Services, environments, NetworkPolicies and the traffic that is given. Comments
    in the drafts say what shows each edge, how often and since when. The drafts have
    enforcement: Observe, so applying them denies nothing. Review them first.

    The command reads the cluster of --kubeconfig, the manifests of --filename, or both.
    """
    from troth.audit.drafting.draft import draft  # noqa: PLC0415
    from troth.audit.drafting.render import escaped, render  # noqa: PLC0415
    from troth.audit.traffic.document import traffic_document  # noqa: PLC0415
    from troth.cli.learn.collect import invalid, read_manifests  # noqa: PLC0415
    from troth.cli.learn.output import write, write_json  # noqa: PLC0415
    from troth.cli.learn.sources import (  # noqa: PLC0415
        agent_logs,
        flow_logs,
        of_agents,
        saved,
        together,
    )

    wanted = namespaces or []
    if kubeconfig is None and not files:
        raise typer.BadParameter("name a cluster with --kubeconfig, or manifests with --filename")
    if from_agents and kubeconfig is None:
        raise typer.BadParameter("--from-agents needs --kubeconfig")
    agents_in = agent_namespace if from_agents else ""
    logs, missing = agent_logs(agent_log or ()), list[str]()
    if kubeconfig is not None:
        scene, more, missing = asyncio.run(
            _cluster(kubeconfig, context, wanted, own_namespace, watched_namespaces, agents_in)
        )
        logs += more
        for sentence in invalid(scene):
            typer.echo(escaped(sentence), err=True)
    else:
        scene = _empty(own_namespace, watched_namespaces)
    check_watched(wanted, scene.world.registry.watched)
    read_manifests(files or (), wanted[0] if len(wanted) == 1 else "default", scene)
    for kind, reason in sorted(scene.hidden.items()):
        typer.echo(escaped(f"{kind}: not seen in full: {reason}"), err=True)
    parts = [*saved(traffic or ()), *flow_logs(scene, hubble or (), calico or ())]
    if from_agents or agent_log:
        parts.append(of_agents(scene, logs, missing))
    scene.traffic = together(parts)
    if save_traffic is not None:
        write_json(save_traffic, traffic_document(scene.traffic))
    found = draft(scene, wanted)
    if not found.identities and not found.additions:
        for sentence in found.unplaced:
            typer.echo(escaped(sentence), err=True)
        typer.echo(NOTHING, err=True)
        raise typer.Exit(ExitCode.CLEAN)
    write(render(found), output_dir)


def _empty(own_namespace: str, watched_namespaces: str) -> "Scene":
    from troth.audit.scene import Scene  # noqa: PLC0415

    scene = Scene(own_namespace, datetime.now(UTC))
    scene.watch(watched_by(watched_namespaces, (), own_namespace))
    return scene


async def _cluster(  # noqa: PLR0917 - the options of the command
    kubeconfig: Path,
    context: str | None,
    namespaces: list[str],
    own_namespace: str,
    watched_namespaces: str,
    agents_in: str,
) -> "tuple[Scene, list[AgentLog], list[str]]":
    from troth.cli.inputs.access import connected  # noqa: PLC0415
    from troth.cli.learn.collect import read_agents, read_cluster  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        now = datetime.now(UTC)
        scene = await read_cluster(server, namespaces, own_namespace, now, watched_namespaces)
        logs, missing = await read_agents(server, agents_in) if agents_in else ([], [])
    return scene, logs, missing
