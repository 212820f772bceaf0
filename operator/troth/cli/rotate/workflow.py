"""The steps of `troth rotate`: find the CredentialRotation, apply the request, follow it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from troth.cli.inputs.access import (
    CONFLICT,
    FORBIDDEN,
    NOT_FOUND,
    PersonalServer,
    connected,
    refusal,
)
from troth.cli.inputs.targets import Named
from troth.cli.output import Structured, console, structured
from troth.cli.rotate.progress import view
from troth.cli.rotate.rotation_request import KIND, Request, drop_root, rotate_now, target_of
from troth.cli.rotate.wait import End, Followed, follow
from troth.cluster.errors import ApiError
from troth.resources.faults import FaultyManifests, ManifestFault
from troth.resources.manifests import Manifest
from troth.resources.references import Ref
from troth.resources.schema.scalars import parse_moment

MOST_NAMED = 20
RETIRED = "Retired"
"""State of a root or token key that only verifies events any more."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """The arguments of `troth rotate`."""

    named: Named
    namespace: str
    name: str = ""
    compromised: str = ""
    now: bool = False
    watch: bool = False
    yes: bool = False
    output: Structured = Structured.YAML

    @property
    def target(self) -> Manifest:
        """The value of `spec.target`."""
        return target_of(self.named.kind.name, self.named.name)

    @property
    def place(self) -> Ref:
        """Reference of the target."""
        return self.named.at(self.namespace)

    def __str__(self) -> str:
        return f"{self.named.kind.name} {self.place}"


async def carry_out(
    arguments: Arguments, kubeconfig: Path | None, context: str | None, now: datetime
) -> bool:
    """Carry out the command; return whether it succeeded.

    Raises `FaultyManifests` if it cannot be carried out.
    """
    screen, aside = console(wrap=False), console(errors=True, wrap=False)
    target = arguments.target
    async with connected(kubeconfig, context) as server:
        await _must_be_there(server, arguments)
        rotations = await server.listed(KIND, arguments.namespace)
        if arguments.compromised:
            lost = await _compromised(server, arguments)
            await _warn(server, lost, aside)
            request = drop_root(
                target, arguments.namespace, rotations, arguments.name, lost.fingerprint
            )
        else:
            request = rotate_now(target, arguments.namespace, rotations, arguments.name, now)
        if not arguments.now:
            screen.print(structured(request.committed(), arguments.output), end="", markup=False)
            aside.print(_to_commit(request), markup=False)
            return True
        if arguments.compromised and not arguments.yes:
            aside.print("nothing was changed; add --yes to revoke it", markup=False)
            return False
        applied = await _apply(server, request)
        screen.print(_request_sentence(request, arguments), markup=False)
        return not arguments.watch or await _watch(
            server, request, applied, arguments, screen, aside
        )


async def _must_be_there(server: PersonalServer, arguments: Arguments) -> None:
    try:
        await server.get(arguments.named.kind.name, arguments.place)
    except ApiError as error:
        if error.status == NOT_FOUND:
            raise FaultyManifests(
                [ManifestFault("", str(arguments), "", "not found; see `troth status`")]
            ) from None
        if error.status != FORBIDDEN:  # the right to rotate does not need the right to read
            raise


@dataclass(frozen=True, slots=True)
class _Lost:
    """A compromised root or token key."""

    fingerprint: str
    """The fingerprint that statuses show."""
    signs_tokens: bool
    """Whether it is a token key and not a root."""
    retired: bool
    """Whether it only verifies events any more."""


async def _compromised(server: PersonalServer, arguments: Arguments) -> _Lost:
    """Return the root or token key with the given fingerprint."""
    if arguments.named.kind.name != "TrustDomain":
        sentence = "--compromised is only for a TrustDomain's root or token key; use --now alone"
        raise FaultyManifests([ManifestFault("", str(arguments), "", sentence)])
    status = (await server.get("TrustDomain", arguments.place)).get("status") or {}
    known = {
        "authorities": [*_listed(status, "authorities"), *_listed(status, "retiredAuthorities")],
        "tokenKeys": [*_listed(status, "tokenKeys"), *_listed(status, "retiredTokenKeys")],
    }
    for part, listed in known.items():
        for fingerprint, state in listed:
            if arguments.compromised.lower().startswith(fingerprint):
                return _Lost(fingerprint, part == "tokenKeys", retired=state == RETIRED)
    roots, keys = (
        ", ".join(f"{fingerprint} ({state})" for fingerprint, state in listed)
        for listed in known.values()
    )
    sentence = f"has no root or token key {arguments.compromised}; its roots are {roots or 'none'}"
    if keys:
        sentence += f", its token keys {keys}"
    raise FaultyManifests([ManifestFault("", str(arguments), "", sentence)])


def _listed(status: Manifest, part: str) -> Iterator[tuple[str, str]]:
    """Yield the fingerprint and the state of what a status lists."""
    for each in status.get(part) or []:
        yield each["fingerprint"], each.get("state", RETIRED)


async def _warn(server: PersonalServer, lost: _Lost, aside: Console) -> None:
    """Warn who is rejected until it has a certificate of another root, or a new token."""
    root = lost.fingerprint
    if lost.retired:
        which = "token key" if lost.signs_tokens else "root"
        aside.print(
            f"the retired {which} {root} will be revoked. Consumers that have read this reject all "
            "events that need it",
            style="yellow",
            markup=False,
        )
        return
    if lost.signs_tokens:
        aside.print(
            f"the token key {root} will be revoked. Verifiers that have read this reject the "
            "tokens that it signed; callers then get new ones",
            style="yellow",
            markup=False,
        )
        return
    try:
        identities = await server.listed("ServiceIdentity")
    except ApiError as error:
        if error.status != FORBIDDEN:
            raise
        aside.print(
            f"cannot list the identities with a certificate of {root}: {refusal(error)}",
            markup=False,
        )
        return
    signed = sorted(
        str(Ref.of(identity))
        for identity in identities
        if ((identity.get("status") or {}).get("certificate") or {}).get("authority") == root
    )
    if not signed:
        aside.print(f"no identity has a certificate of {root}", markup=False)
        return
    aside.print(
        f"the root {root} will be revoked. These identities have a certificate of it and are "
        f"rejected until they have loaded a new one: {len(signed)}",
        style="yellow",
        markup=False,
    )
    for each in signed[:MOST_NAMED]:
        aside.print(f"  {each}", markup=False)
    if len(signed) > MOST_NAMED:
        aside.print(f"  and {len(signed) - MOST_NAMED} more", markup=False)


async def _apply(server: PersonalServer, request: Request) -> Manifest:
    """Apply a request; the error says who may do it instead."""
    subject = f"{KIND} {request.ref}"
    try:
        return await server.ask(request.manifest())
    except ApiError as error:
        sentence = refusal(error)
        if error.status == CONFLICT:
            sentence += (
                f"; spec.{request.field} has another owner: omit --now and commit the output"
            )
        if error.status == FORBIDDEN:
            sentence += "; ask for the chart's ClusterRole whose name ends in -rotate"
        raise FaultyManifests([ManifestFault("", subject, "", sentence)]) from None


async def _watch(  # noqa: PLR0917 - one call
    server: PersonalServer,
    request: Request,
    applied: Manifest,
    arguments: Arguments,
    screen: Console,
    aside: Console,
) -> bool:
    followed = Followed(
        request.ref,
        applied["metadata"]["generation"],
        arguments.target,
        arguments.place,
        moment=None if arguments.compromised else parse_moment(request.value),
        compromised=arguments.compromised and request.value,
    )
    with view(screen) as shown:
        last = await follow(server, followed, shown.show, shown.trouble)
    if last.end is End.DONE:
        screen.print(_done(request, last.made), markup=False)
        return True
    aside.print(f"stopped: {last.sentence}", style="red", markup=False)
    return False


def _to_commit(request: Request) -> str:
    where = "the manifest of" if request.existing else "a new"
    return (
        f"nothing was changed; commit spec.{request.field} in {where} {KIND} {request.ref}, or add "
        "--now"
    )


def _request_sentence(request: Request, arguments: Arguments) -> str:
    if request.field == "compromised":
        return f"{KIND} {request.ref} revokes {request.value} of {arguments}"
    instead = f" instead of {request.replaces}" if request.replaces else ""
    return f"{KIND} {request.ref} rotates {arguments} at {request.value}{instead}"


def _done(request: Request, made: str) -> str:
    if request.field == "compromised":
        return f"done: {request.value} is no longer trusted, and nothing that it signed is in use"
    return f"done: the credential in use was issued at {made}"
