"""`troth prove`: proves by probes that declared edges, and only those, are open."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE, OwnNamespace
from troth.cli.inputs.targets import Cluster, parse_ref
from troth.cli.output import Output, OutputOption, console, structured
from troth.cli.quoting import quoted
from troth.resources.faults import FaultyManifests, ManifestFault

if TYPE_CHECKING:
    from troth.audit.proving.probe import Plan
    from troth.cli.inputs.access import PersonalServer
    from troth.cli.prove.round import Proven, Request

SAMPLE, MOST, RATE, BUDGET = 5, 1000, 60, 600
OPERATOR = "troth.dev/component=operator"


def prove(  # noqa: PLR0917 - typer's options
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace", "-n", help="Prove the identities of this namespace. Default: all."
        ),
    ] = "",
    identity: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="Prove only this ServiceIdentity.")
    ] = "",
    sample: Annotated[
        int,
        typer.Option(min=0, max=50, help="Pairs without an edge to probe, for each identity."),
    ] = SAMPLE,
    most: Annotated[
        int, typer.Option(min=1, max=10_000, help="Maximum number of probes in all.")
    ] = MOST,
    seed: Annotated[
        str, typer.Option(help="Choose the same pairs as an earlier round, which printed its seed.")
    ] = "",
    rate: Annotated[
        int, typer.Option(min=1, max=600, help="Maximum number of pods to start in a minute.")
    ] = RATE,
    batch_seconds: Annotated[
        int,
        typer.Option(min=60, help="Time in which the pods of a batch of callees may start."),
    ] = BUDGET,
    image: Annotated[
        str,
        typer.Option(
            envvar="TROTH_IMAGE", help="Image of the probing pods. Default: the operator's."
        ),
    ] = "",
    *,
    scheduled: Annotated[
        bool,
        typer.Option(
            "--scheduled",
            help="Prove only identities whose TrustDomain has spec.proving, and which are due.",
        ),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the probes and make none.")
    ] = False,
    output: OutputOption = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
    own_namespace: OwnNamespace = OWN_NAMESPACE,
) -> None:
    """Prove with probes that declared edges, and only those, are open.

    Probes run as pods of each caller's identity. The results are in the status of each callee.
    Exit code 1 means that something is not as declared.
    """
    from troth.audit.proving.plan import Options  # noqa: PLC0415
    from troth.cli.prove.round import Request  # noqa: PLC0415

    now = datetime.now(UTC)
    chosen = seed or now.strftime("%Y%m%d%H%M%S")
    options = Options(chosen, sample, most=most, own_namespace=own_namespace)
    told = f"{identity!r} is not NAMESPACE/NAME"
    one = parse_ref(identity, "--identity", told) if identity else None
    request = Request(namespace, one, scheduled, options)
    proven = asyncio.run(
        _prove(request, (rate, batch_seconds), image, now, dry_run, output, kubeconfig, context)
    )
    if proven is None:
        return
    if output is Output.TEXT:
        from troth.cli.prove.render import show_proofs  # noqa: PLC0415

        show_proofs(console(wrap=False), proven)
    else:
        typer.echo(structured(proven.manifest(), output), nl=False)
    raise typer.Exit(ExitCode.FINDINGS if proven.disproven else ExitCode.CLEAN)


async def _prove(  # noqa: PLR0917 - the options
    request: "Request",
    limits: tuple[int, int],
    image: str,
    now: datetime,
    dry_run: bool,  # noqa: FBT001
    output: Output,
    kubeconfig: Path | None,
    context: str | None,
) -> "Proven | None":
    from troth.cli.inputs.access import connected  # noqa: PLC0415
    from troth.cli.prove.pods import Runner  # noqa: PLC0415
    from troth.cli.prove.round import planned, prove_all, read_registry  # noqa: PLC0415
    from troth.resources.reported import MOST_PROOFS  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        registry = await read_registry(server, request.options.own_namespace)
        plan = planned(registry, request, now)
        for each in plan.omitted:
            typer.echo(f"{each}: omitted, because --most is reached", err=True)
        for callee, number in plan.cut.items():
            room = f"{number} of its probes are cut, because a status has {MOST_PROOFS} proofs"
            typer.echo(f"{callee}: {room} and --most is {request.options.most}", err=True)
        if dry_run:
            _show(plan, output)
            return None
        chosen = image
        if not chosen and plan.probes:
            chosen = await _image(server, request.options.own_namespace)
        runner = Runner(server, plan.callers, chosen, *limits)
        try:
            return await prove_all(server, registry, plan, runner, request, _say)
        finally:
            await runner.close()


def _show(plan: "Plan", output: Output) -> None:
    from troth.cli.prove.render import show_plan  # noqa: PLC0415

    if output is Output.TEXT:
        show_plan(console(wrap=False), plan)
    else:
        typer.echo(structured(plan.manifest(), output), nl=False)


async def _image(server: "PersonalServer", namespace: str) -> str:
    """Return the image of the operator's pods; raises `FaultyManifests` if there are none."""
    for pod in await server.listed("Pod", namespace, labels=OPERATOR):
        return str(pod["spec"]["containers"][0]["image"])
    sentence = "has no pod of the operator whose image the probes could use; set --image"
    raise FaultyManifests([ManifestFault("", f"namespace {namespace}", "", sentence)])


def _say(line: str) -> None:
    typer.echo(quoted(line), err=True)
