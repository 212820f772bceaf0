"""`troth webhook`: sign a delivery as its sender would, or find out why one is rejected."""

import json
import sys
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from troth.cli.exit_codes import ExitCode
from troth.cli.inputs import sources
from troth.cli.inputs.moments import At, read_moment
from troth.cli.inputs.single import fault, read_file
from troth.cli.output import Output as As
from troth.cli.output import OutputOption, console, structured
from troth.cli.webhook import options
from troth.cli.webhook.curl import CurlError, write_curl
from troth.cli.webhook.diagnosis import KeyText
from troth.cli.webhook.render import document, does_something, lines, parts, raw, show
from troth.cli.webhook.request import LIMIT
from troth.cli.webhook.verify import VerifyInput, judge
from troth.documents.webhook_endpoint import Signing
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.fields.addresses import Address
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import KeyFormatError, Stamp

app = typer.Typer(
    help="Debug one webhook delivery: verify it check by check, or sign it as its sender would.",
    no_args_is_help=True,
)


class Printed(StrEnum):
    """Output format of a signed delivery."""

    CURL = "curl"
    HTTP = "http"
    HEADERS = "headers"
    JSON = "json"


@app.command("verify")
def verify(
    given: options.Request = "-",
    *,
    scheme: options.SchemeOption = None,
    filename: sources.Files = None,
    key: options.Keys = None,
    url: options.URL = "",
    body: options.BodyFile = None,
    tolerance: Annotated[
        str,
        typer.Option(
            help="Timestamp tolerance, past or future. Defaults to the manifest's, or to 5m "
            "(Paddle: 5s)."
        ),
    ] = "",
    at: At = "",
    topic: options.Topics = None,
    component: options.Components = None,
    hmac: options.Describing = None,
    output: OutputOption = As.TEXT,
) -> None:
    """Verify a delivery as a gateway would, and show each check. Exit code 1 means rejected.

    For a wrong signature, the command searches for what it would match. It sends nothing, and
    prints neither keys nor signatures.
    """
    request = options.read_given(given, body)
    given_scheme = options.GivenScheme(
        scheme, filename or (), url, topic or (), component or (), hmac or ()
    )
    signing, declared = given_scheme.signing(request.url or "")
    inputs = VerifyInput(
        request.delivery,
        signing,
        options.read_keys(key or ()),
        read_moment(at, datetime.now(UTC)),
        options.read_tolerance(tolerance, signing.name, declared),
    )
    try:
        judgement = judge(inputs)
    except ValueError as error:
        raise fault("the scheme", str(error)) from None
    if output is As.TEXT:
        show(console(), judgement, request.delivery, request.notes)
    else:
        shown = document(judgement, signing.name, request.delivery, request.notes)
        typer.echo(structured(shown, output), nl=False)
    raise typer.Exit(ExitCode.CLEAN if judgement.verified is not None else ExitCode.FINDINGS)


@app.command("sign")
def sign(
    given: options.Request = "",
    *,
    scheme: options.SchemeOption = None,
    filename: sources.Files = None,
    key: options.Keys = None,
    url: options.URL = "",
    body: options.BodyFile = None,
    at: At = "",
    delivery_id: Annotated[
        str, typer.Option("--id", help="Delivery ID. Defaults to a new one.")
    ] = "",
    topic: options.Topics = None,
    component: options.Components = None,
    hmac: options.Describing = None,
    output: Annotated[
        Printed, typer.Option("--output", "-o", help="Output format.")
    ] = Printed.CURL,
) -> None:
    """Sign a request, or a body from a file, as its sender would. Nothing is sent.

    For an asymmetric scheme, give the sender's private key.
    """
    given_scheme = options.GivenScheme(
        scheme, filename or (), url, topic or (), component or (), hmac or ()
    )
    request = options.read_given(given, body) if given or body is None else None
    made_to = request.url if request is not None and request.url else ""
    signing, _ = given_scheme.signing(made_to)
    goes_to = signing.url if filename else url or made_to
    if output is not Printed.HEADERS or request is None:
        _check(goes_to)
    if request is not None:
        delivery = request.delivery
    else:
        assert body is not None
        delivery = _of_body(read_file(body, LIMIT), Address.parse(goes_to))
    texts = options.read_keys(key or ())
    if len(texts) != 1:
        raise fault("--key", "signing needs exactly one key; name its file")
    stamp = Stamp(int(read_moment(at, datetime.now(UTC))), delivery_id or f"troth-{uuid.uuid4()}")
    signed = _signed(signing, delivery, texts[0], stamp)
    _print(signed, goes_to, output)


def _check(url: str) -> None:
    try:
        Address.parse(url)
    except ValueError:
        raise fault(
            "--url", "missing or invalid; write the URL of the delivery, without a query"
        ) from None


def _of_body(body: bytes, address: Address) -> Delivery:
    try:
        json.loads(body)
        kind = b"application/json"
    except (ValueError, RecursionError):
        kind = b"application/octet-stream"
    path = (address.path or "/").encode()
    return Delivery("POST", path, ((b"content-type", kind),), body)


def _signed(signing: Signing, delivery: Delivery, text: KeyText, stamp: Stamp) -> Delivery:
    try:
        scheme = scheme_for(signing)
        return scheme.sign(delivery, scheme.key(text.id, text.text), stamp)
    except KeyFormatError as error:
        raise fault(f"the key {text.id}", str(error)) from None
    except ValueError as error:
        raise fault("the scheme", str(error)) from None


def _print(signed: Delivery, url: str, output: Printed) -> None:
    written = _written(signed, url, output)
    if sys.stdout.isatty() and does_something(written.decode(errors="replace")):
        raise fault(
            "the delivery",
            "it contains control characters that could affect the terminal; write the output to a "
            "file, or use --output json",
        )
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()


def _written(signed: Delivery, url: str, output: Printed) -> bytes:
    match output:
        case Printed.HTTP:
            return raw(signed, Address.parse(url).authority)
        case Printed.HEADERS:
            text = lines(signed)
        case Printed.JSON:
            text = parts(signed, url)
        case Printed.CURL:
            try:
                text = write_curl(signed, url)
            except CurlError as error:
                raise fault("the body", str(error)) from None
    return f"{text}\n".encode()
