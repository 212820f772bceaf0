"""Options of `troth webhook`: the request, the key files and the signature scheme."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from troth.cli.inputs.single import fault, read_file
from troth.cli.webhook.diagnosis import KeyText
from troth.cli.webhook.manifest import read_endpoint
from troth.cli.webhook.request import LIMIT, Given, NotARequestError, read_request
from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.faults import FaultyManifests, faults_of
from troth.resources.schema.scalars import parse_duration
from troth.resources.webhooks.schemes import SchemeName

_LONGEST_KEY = 64 * 1024
_NOWHERE = "https://example.invalid/"
"""Placeholder URL for schemes that do not sign the URL."""
_SIGN_URL = frozenset({SchemeName.TWILIO, SchemeName.SQUARE, SchemeName.HTTP_SIGNATURES})

Request = Annotated[
    str,
    typer.Argument(
        metavar="[-|FILE|'curl …']",
        show_default=False,
        help="Request: standard input, a file with raw HTTP or a curl command, or that command.",
    ),
]
SchemeOption = Annotated[
    SchemeName | None,
    typer.Option("--scheme", "-s", help="Signature scheme, if not read from a manifest with -f."),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        "-k",
        metavar="[ID=]FILE",
        help="File with a key, in the form that a Secret has it; repeatable. The ID defaults to "
        "the file's name.",
    ),
]
URL = Annotated[
    str, typer.Option("--url", help="URL as configured at the sender, without a query.")
]
BodyFile = Annotated[
    Path | None,
    typer.Option("--body", help="File with the body, which replaces the request's body."),
]
Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="For SNS: ARN of an accepted topic; repeatable.")
]
Components = Annotated[
    list[str] | None,
    typer.Option(
        "--component",
        help="For HTTPSignatures: additional component that must be covered; repeatable.",
    ),
]
Describing = Annotated[
    list[str] | None,
    typer.Option(
        "--hmac",
        metavar="NAME=VALUE",
        help="For HMAC: header, prefix, signed, digest, encoding, timestampHeader or idHeader, as "
        "in a WebhookEndpoint; repeatable.",
    ),
]


def read_given(given: str, body: Path | None) -> Given:
    """Read the request of a command; raises `FaultyManifests`."""
    if given.lstrip().startswith("curl "):
        text, place = given.encode(errors="surrogateescape"), "the curl command"
    elif given in ("", "-"):
        if sys.stdin.isatty():
            typer.echo("paste the request, then press Ctrl-D on a line of its own", err=True)
        text, place = sys.stdin.buffer.read(LIMIT + 1), "standard input"
    else:
        text, place = read_file(Path(given.removeprefix("@")), LIMIT), given
    if len(text) > LIMIT:
        raise fault(place, f"not a delivery: larger than {LIMIT} bytes")
    try:
        request = read_request(text)
    except NotARequestError as error:
        raise fault(place, str(error)) from None
    return request if body is None else request.with_body(read_file(body, LIMIT))


def read_keys(named: Iterable[str]) -> tuple[KeyText, ...]:
    """Read key files; raises `FaultyManifests`. No message quotes a key.

    Messages do not name a missing file either, because a user may have given the key itself.
    """
    texts = []
    for number, each in enumerate(named, start=1):
        key_id, equals, file = each.partition("=")
        path = Path(file if equals else each)
        text = read_file(path, _LONGEST_KEY, f"the file of --key ({number})")
        texts.append(KeyText(key_id if equals else path.name, text))
    if len({each.id for each in texts}) != len(texts):
        raise fault("--key", "two keys have the same ID; write ID=FILE")
    return tuple(texts)


@dataclass(frozen=True, slots=True)
class GivenScheme:
    """The sender's signature scheme, from options or from a manifest."""

    scheme: SchemeName | None
    files: Sequence[Path]
    url: str
    topics: Sequence[str]
    components: Sequence[str]
    describing: Sequence[str]

    def signing(self, url: str) -> tuple[Signing, float | None]:
        """Return the signature scheme, and the tolerance in seconds if a manifest has it.

        `url` is the request's, which applies if no option sets it. Raises `FaultyManifests`, which
        names the missing option.
        """
        if not self.files:
            if self.scheme is None:
                raise fault("--scheme", "required; or name a WebhookEndpoint with -f")
            return self._of_options(self.scheme, self.url or url), None
        if self.scheme or self.url or self.topics or self.components or self.describing:
            raise fault(
                "-f", "the manifest has the signature scheme; omit the options that describe one"
            )
        return read_endpoint(self.files)

    def _of_options(self, scheme: SchemeName, url: str) -> Signing:
        described = {
            name: value for name, _, value in (each.partition("=") for each in self.describing)
        }
        if not url and (scheme in _SIGN_URL or "{url}" in described.get("signed", "")):
            raise fault(
                "--url",
                f"required, because {scheme} signs the URL; write it as configured at the sender",
            )
        if (scheme is SchemeName.HMAC) is not bool(described):
            raise fault(
                "--hmac", "required for the scheme HMAC, as in header=X-Signature, and only for it"
            )
        if (scheme is SchemeName.SNS) is not bool(self.topics):
            raise fault(
                "--topic",
                "required for the scheme SNS, and only for it; write the ARN of the topic",
            )
        try:
            return Signing(
                name=scheme,
                url=url or _NOWHERE,
                described=Described.model_validate(described) if described else None,
                topics=tuple(self.topics),
                components=tuple(self.components),
            )
        except ValidationError as error:
            raise FaultyManifests(faults_of(error, "the scheme", "")) from None


def read_tolerance(text: str, scheme: SchemeName, declared: float | None) -> float:
    """Parse a tolerance to seconds; raises `typer.BadParameter`."""
    if not text and declared is not None:
        return declared
    try:
        return parse_duration(
            text or ("5s" if scheme is SchemeName.PADDLE else "5m")
        ).total_seconds()
    except (ValueError, PydanticCustomError):
        raise typer.BadParameter(
            f"--tolerance: {text!r} is not a duration such as 5m or 30s"
        ) from None
