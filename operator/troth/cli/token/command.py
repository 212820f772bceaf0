"""`troth token`: inspect a token, verify it, and explain its scopes."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.declared import observed
from troth.cli.inputs.namespaces import OWN_NAMESPACE, OwnNamespace
from troth.cli.inputs.targets import Cluster
from troth.cli.inputs.watched import WatchedNamespaces, watched_by
from troth.cli.output import Output, OutputOption, console, structured
from troth.cli.token.decode import NotAToken, bare, take_apart
from troth.cli.token.input import TokenArgument, read_token
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.world.world import World

app = typer.Typer(
    help="Inspect signed tokens, verify them, and explain their scopes.",
    no_args_is_help=True,
)


@app.command("inspect")
def inspect(given: TokenArgument = "-", *, output: OutputOption = Output.TEXT) -> None:
    """Show the header and claims of an access token or transaction token, without verifying it.

    The command prints neither the token nor its signature.
    """
    from troth.cli.token import inspect as inspecting  # noqa: PLC0415

    try:
        anatomy = take_apart(read_token(given))
    except NotAToken as error:
        raise FaultyManifests([ManifestFault("", "the token", "", str(error))]) from None
    now = datetime.now(UTC)
    if output is Output.TEXT:
        inspecting.show(console(), anatomy, now)
    else:
        typer.echo(structured(inspecting.document(anatomy, now), output), nl=False)


@app.command("verify")
def verify(
    given: TokenArgument = "-",
    *,
    audience: Annotated[
        str,
        typer.Option(
            "--audience",
            "-a",
            help="Expected audience: the callee's, by default its SPIFFE ID; for a transaction "
            "token the trust domain.",
        ),
    ],
    bundle: Annotated[
        Path | None,
        typer.Option(help="Trusted keys: a bundle-map.json, or the folder with it."),
    ] = None,
    identity: Annotated[
        Path | None, typer.Option(help="Trusted issuers: an identity.json, or the folder with it.")
    ] = None,
    issuer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[DOMAIN=]URL", help="Trusted issuer, instead of an identity.json; repeatable."
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option(help="The presenter's tls.crt; checks that the token is bound to it."),
    ] = None,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace whose bundle to trust, without --bundle. Defaults to the context's.",
        ),
    ] = "",
    own_namespace: OwnNamespace = OWN_NAMESPACE,
    output: OutputOption = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Verify a token as a callee would, and show each check. Exit code 1 means rejected.

    Keys and issuers come from files or from the cluster.
    """
    from troth.cli.token import trust as token_trust  # noqa: PLC0415
    from troth.cli.token import verify_render as verifying  # noqa: PLC0415
    from troth.cli.token.verify import Setting, judge  # noqa: PLC0415

    token = bare(read_token(given))
    bundles = token_trust.read_bundles(bundle) if bundle else {}
    issuers = token_trust.read_issuers(identity) if identity else {}
    named = bool(identity or issuer)
    if bundle is None or not named:
        if bundle is not None and kubeconfig is None:
            raise typer.BadParameter(
                "--bundle needs --identity, --issuer or --kubeconfig for the issuers"
            )
        from troth.cli.token.cluster import trusted  # noqa: PLC0415

        seen = asyncio.run(
            trusted(
                kubeconfig, context, None if bundle else namespace, None if named else own_namespace
            )
        )
        bundles, issuers = bundles or seen.bundles, issuers if named else seen.issuers
    issuers = {**issuers, **token_trust.named_issuers(issuer or [], bundles)}
    holder = token_trust.read_holder(certificate) if certificate else None
    judgement = judge(token, Setting(bundles, issuers, audience, datetime.now(UTC), holder))
    if output is Output.TEXT:
        verifying.show(console(), judgement)
    else:
        typer.echo(structured(verifying.document(judgement), output), nl=False)
    raise typer.Exit(ExitCode.CLEAN if judgement.verified else ExitCode.FINDINGS)


@app.command("explain")
def explain(
    caller: Annotated[
        str, typer.Argument(metavar="CALLER", help="Calling identity, such as shop/checkout.")
    ],
    callee: Annotated[
        str, typer.Argument(metavar="CALLEE", help="Called identity, such as shop/payments.")
    ],
    *,
    files: sources.Files = None,
    own_namespace: OwnNamespace = OWN_NAMESPACE,
    watched_namespaces: WatchedNamespaces = "",
    output: OutputOption = Output.TEXT,
    kubeconfig: Cluster = None,
    context: sources.Context = None,
) -> None:
    """Show the scopes of a token and the lines that grant them. Exit code 1 means no token.

    Reads manifests with -f, or a cluster: that of --kubeconfig, or the one that kubectl uses. With
    both -f and --kubeconfig, manifests override objects of the cluster, and those that name no
    namespace are in that of the context.
    """
    from troth.cli.token import explain as explaining  # noqa: PLC0415
    from troth.cli.token import explain_render as explained  # noqa: PLC0415

    namespace = "default"
    if files and kubeconfig is not None:
        from troth.cli.inputs.access import home  # noqa: PLC0415

        namespace = home(kubeconfig, context)
    manifests = sources.read(files or [], namespace)
    world = _declared(manifests, kubeconfig, context, own_namespace, watched_namespaces)
    first, second = (explaining.find(world.registry, name) for name in (caller, callee))
    explanation = explaining.explain(world, first, second, datetime.now(UTC))
    if output is Output.TEXT:
        explained.show(console(), explanation, manifests)
    else:
        typer.echo(structured(explained.document(explanation, manifests), output), nl=False)
    raise typer.Exit(ExitCode.CLEAN if explanation.issued else ExitCode.FINDINGS)


def _declared(
    manifests: sources.Manifests,
    kubeconfig: Path | None,
    context: str | None,
    own_namespace: str,
    watched_namespaces: str,
) -> World:
    """Return the objects of a cluster, overridden by manifests."""
    before: list[Manifest] = []
    if not manifests.files or kubeconfig is not None:
        from troth.cli.token.cluster import declared  # noqa: PLC0415

        before = asyncio.run(declared(kubeconfig, context))
    watched = watched_by(watched_namespaces, before, own_namespace)
    return observed([*before, *manifests.objects], watched, own_namespace)
