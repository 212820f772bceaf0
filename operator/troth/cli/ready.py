"""`troth ready`: whether Troth is installed and an operator leads."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.namespaces import OWN_NAMESPACE
from troth.cli.inputs.targets import Cluster
from troth.cli.quoting import quoted
from troth.resources.kinds import EVERY_KIND, Kind
from troth.resources.metadata import GROUP
from troth.resources.references import Ref
from troth.resources.schema.scalars import parse_moment

if TYPE_CHECKING:
    from troth.cli.inputs.access import PersonalServer

SKEW = timedelta(seconds=30)
"""How far the clocks of this machine and of the operator's node may differ."""


def ready(
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", envvar="POD_NAMESPACE", help="Troth's namespace.")
    ] = OWN_NAMESPACE,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Check that the API server serves Troth's resources, and that an operator leads."""
    problems = asyncio.run(_problems(namespace, kubeconfig, context))
    for each in problems:
        typer.echo(each, err=True)
    if problems:
        raise typer.Exit(ExitCode.FINDINGS)


async def _problems(namespace: str, kubeconfig: Path | None, context: str | None) -> list[str]:
    from troth.cli.inputs.access import connected  # noqa: PLC0415

    async with connected(kubeconfig, context) as server:
        found = [
            f"the API server serves no {kind.plural}.{GROUP}; apply the CRDs: troth crds --apply"
            for kind in EVERY_KIND
            if not await _is_served(server, kind, namespace)
        ]
        leader = await _leader(server, namespace)
    if not found:
        typer.echo(f"the API server serves {len(EVERY_KIND)} kinds of troth.dev")
    if leader is None:
        found.append(
            f"no operator leads in the namespace {namespace}; "
            f"see kubectl logs -n {namespace} -l app.kubernetes.io/name=troth"
        )
    else:
        typer.echo(f"{quoted(leader)} leads")
    return found


async def _is_served(server: "PersonalServer", kind: Kind, namespace: str) -> bool:
    from troth.cli.inputs.access import NOT_FOUND  # noqa: PLC0415
    from troth.cluster.errors import ApiError  # noqa: PLC0415
    from troth.cluster.selection import Selection  # noqa: PLC0415

    selection = Selection(kind.name, namespace if kind.namespaced else "")
    try:
        async for _ in server.pages(selection, metadata_only=True):
            break  # the first page suffices
    except ApiError as error:
        if error.status == NOT_FOUND:
            return False
        raise
    return True


async def _leader(server: "PersonalServer", namespace: str) -> str | None:
    """Return the operator that has renewed the Lease in time, None if there is none."""
    from troth.reconcile.operator import LEASE  # noqa: PLC0415

    lease = await server.find("Lease", Ref(namespace, LEASE))
    spec = (lease or {}).get("spec") or {}
    try:
        lasts = timedelta(seconds=spec.get("leaseDurationSeconds") or 0) + SKEW
        leads = datetime.now(UTC) < parse_moment(spec.get("renewTime")) + lasts
    except (ValueError, TypeError, OverflowError):  # malformed, or nobody has renewed it
        return None
    holder = str(spec.get("holderIdentity") or "")
    return holder if holder and leads else None
