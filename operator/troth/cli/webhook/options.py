"""What `troth webhook` is told: the keys, by files, and how the sender signs."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from troth.cli.webhook.diagnosis import KeyText
from troth.cli.webhook.manifest import read_endpoint
from troth.cli.webhook.request import LIMIT, Given, NotARequestError, read_request
from troth.documents.webhook_endpoint import Described, Signing
from troth.resources.manifests import Fault, FaultyManifests, faults_of
from troth.resources.schema.scalars import parse_duration, parse_moment
from troth.resources.webhooks.schemes import SchemeName

_LONGEST_KEY = 64 * 1024
_NOWHERE = "https://example.invalid/"
"""Where no scheme that signs no URL would look."""
_SIGN_URL = frozenset({SchemeName.TWILIO, SchemeName.SQUARE, SchemeName.HTTP_SIGNATURES})

Request = Annotated[
    str,
    typer.Argument(
        metavar="[-|FILE|'curl …']",
        show_default=False,
        help="The request: standard input, a file, raw HTTP or a curl line, or that line itself.",
    ),
]
SchemeOption = Annotated[
    SchemeName | None,
    typer.Option("--scheme", "-s", help="How the sender signs, if no -f says it."),
]
Keys = Annotated[
    list[str] | None,
    typer.Option(
        "--key",
        "-k",
        metavar="[ID=]FILE",
        help="A file with a key, as a Secret would have it; may be given again. Its name is the "
        "key's, if no other is written.",
    ),
]
URL = Annotated[
    str, typer.Option("--url", help="The URL as it is entered at the sender, without a query.")
]
BodyFile = Annotated[
    Path | None, typer.Option("--body", help="A file with the body, in place of the request's.")
]
At = Annotated[str, typer.Option("--at", help="As of when: seconds since 1970, or RFC 3339.")]
Topics = Annotated[
    list[str] | None, typer.Option("--topic", help="SNS: the ARN of a topic that may send.")
]
Components = Annotated[
    list[str] | None,
    typer.Option("--component", help="HTTPSignatures: what must be covered besides."),
]
Describing = Annotated[
    list[str] | None,
    typer.Option(
        "--hmac",
        metavar="NAME=VALUE",
        help="HMAC: header, prefix, signed, digest, encoding, timestampHeader or idHeader, as a "
        "WebhookEndpoint has them; again for each.",
    ),
]


def read_given(given: str, body: Path | None) -> Given:
    """Return the request that a command was given; raises `FaultyManifests`."""
    if given.lstrip().startswith("curl "):
        text, place = given.encode(errors="surrogateescape"), "the curl line"
    elif given in ("", "-"):
        if sys.stdin.isatty():
            typer.echo("paste the request, then press Ctrl-D on a line of its own", err=True)
        text, place = sys.stdin.buffer.read(LIMIT + 1), "standard input"
    else:
        text, place = read_file(Path(given.removeprefix("@")), LIMIT), given
    if len(text) > LIMIT:
        raise fault(place, f"more than {LIMIT} bytes are no delivery")
    try:
        request = read_request(text)
    except NotARequestError as error:
        raise fault(place, str(error)) from None
    return request if body is None else request.with_body(read_file(body, LIMIT))


def read_file(path: Path, most: int, place: str = "") -> bytes:
    """Return what a file has; raises `FaultyManifests`, also for more than so many bytes.

    `place` is what is said of the file instead of its name.
    """
    place = place or str(path)
    try:
        with path.open("rb") as file:
            text = file.read(most + 1)
    except (OSError, ValueError) as error:
        sentence = getattr(error, "strerror", None) or "it cannot be read"
        raise fault(place, sentence) from None
    if len(text) > most:
        raise fault(place, f"it has more than {most} bytes")
    return text


def read_keys(named: Iterable[str]) -> tuple[KeyText, ...]:
    """Return the keys of files; raises `FaultyManifests`. No sentence quotes one.

    Not even the name of a file that is not there: somebody may have written the key itself.
    """
    texts = []
    for number, each in enumerate(named, start=1):
        key_id, equals, file = each.partition("=")
        path = Path(file if equals else each)
        text = read_file(path, _LONGEST_KEY, f"the file that --key names ({number})")
        texts.append(KeyText(key_id if equals else path.name, text))
    if len({each.id for each in texts}) != len(texts):
        raise fault("--key", "two keys have one name; write ID=FILE")
    return tuple(texts)


@dataclass(frozen=True, slots=True)
class Said:
    """What a command is told of how the sender signs, by options or by a manifest."""

    scheme: SchemeName | None
    files: Sequence[Path]
    url: str
    topics: Sequence[str]
    components: Sequence[str]
    describing: Sequence[str]

    def signing(self, url: str) -> tuple[Signing, float | None]:
        """Return how the sender signs, and the tolerance in seconds that a manifest says.

        `url` is that of the request, where no other is named. Raises `FaultyManifests`, which names
        what is missing.
        """
        if not self.files:
            if self.scheme is None:
                raise fault("--scheme", "name how the sender signs, or a WebhookEndpoint with -f")
            return self._of_options(self.scheme, self.url or url), None
        if self.scheme or self.url or self.topics or self.components or self.describing:
            raise fault("-f", "the manifest says how the sender signs; leave the other options out")
        return read_endpoint(self.files)

    def _of_options(self, scheme: SchemeName, url: str) -> Signing:
        described = {
            name: value for name, _, value in (each.partition("=") for each in self.describing)
        }
        if not url and (scheme in _SIGN_URL or "{url}" in described.get("signed", "")):
            raise fault("--url", f"{scheme} signs the URL; name it as it is entered at the sender")
        if (scheme is SchemeName.HMAC) is not bool(described):
            raise fault(
                "--hmac", "an HMAC is described, as by header=X-Signature, and nothing else is"
            )
        if (scheme is SchemeName.SNS) is not bool(self.topics):
            raise fault("--topic", "AWS signs for everybody; name the ARN of the topic, for SNS")
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


def read_moment(text: str, now: datetime) -> float:
    """Return a moment in seconds since 1970; raises `typer.BadParameter`."""
    if not text:
        return now.timestamp()
    if text.isascii() and text.isdigit() and len(text) <= len("99999999999"):
        return float(text)
    try:
        return parse_moment(text).astimezone(UTC).timestamp()
    except (ValueError, PydanticCustomError):
        raise typer.BadParameter(
            "--at: write seconds since 1970, or 2026-11-26T10:00:00Z"
        ) from None


def read_tolerance(text: str, scheme: SchemeName, declared: float | None) -> float:
    """Return a tolerance in seconds; raises `typer.BadParameter`."""
    if not text and declared is not None:
        return declared
    try:
        return parse_duration(
            text or ("5s" if scheme is SchemeName.PADDLE else "5m")
        ).total_seconds()
    except (ValueError, PydanticCustomError):
        raise typer.BadParameter("--tolerance: write a duration such as 5m or 30s") from None


def fault(place: str, sentence: str) -> FaultyManifests:
    """Return the error of one thing that is wrong with what was given."""
    return FaultyManifests([Fault(place, "", "", sentence)])
