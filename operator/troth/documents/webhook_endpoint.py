"""Endpoint configuration, which the operator writes and the gateway reads, as `endpoint.json`.

The gateway reads it strictly. It does not serve an endpoint of which any part is invalid, and
serves all others. The same Secret has each signing key under `key.<key ID>`, unmodified.
"""

import re
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from troth.documents.workload_id import WorkloadID
from troth.pki.encodings import strict_json
from troth.resources.schema.model import spelled
from troth.resources.webhooks.schemes import SchemeName

VERSION = "v1alpha1"
DOCUMENT = "endpoint.json"
KEY_PREFIX = "key."
GATEWAY_LABEL = "troth.dev/webhook-gateway"
"""Label of the Secrets for a gateway; the value is the name of its identity."""

# RFC 3986, sections 3.3 and 3.2.2, the host restricted to names. No character can end a line.
_PATH = re.compile(r"[A-Za-z0-9/._~!$&'()*+,;=:@%-]+")
_HOST = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"


class EndpointError(ValueError):
    """Invalid endpoint configuration. The message names the part and quotes nothing."""


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=spelled,
        populate_by_name=True,
        hide_input_in_errors=True,
    )


def _cidr(text: str) -> str:
    try:
        ip_network(text, strict=True)
    except ValueError:
        raise ValueError("is not a CIDR") from None
    return text


def _path(text: str) -> str:
    if not text.startswith("/") or not _PATH.fullmatch(text):
        raise ValueError("is not a path as in a request line")
    return text


Path = Annotated[str, AfterValidator(_path)]


class Described(_Part):
    """HMAC that is described in the resource, without a scheme name.

    `signed` ends with `{body}`. Before it may be `{timestamp}`, `{id}`, `{method}` and `{url}`,
    each at most once, with other text between two of them. `digest` is that of the HMAC.
    """

    header: str
    prefix: str = ""
    signed: str = "{body}"
    digest: Literal["SHA256", "SHA512", "SHA1"] = "SHA256"
    encoding: Literal["Hex", "Base64"] = "Hex"
    timestamp_header: str | None = None
    id_header: str | None = None


class Signing(_Part):
    """Scheme and its parameters. `url` is the URL to which the sender sends.

    `topics` are the ARNs of the SNS topics that may send. `components` are those that an HTTP
    message signature must cover besides method, target, content digest and creation time.
    """

    name: SchemeName
    url: str
    described: Described | None = None
    topics: tuple[str, ...] = ()
    components: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.name is SchemeName.HMAC) is (self.described is None):
            raise ValueError("an HMAC needs a description, and nothing else has one")
        if (self.name is SchemeName.SNS) is not bool(self.topics):
            raise ValueError("SNS needs topics, and nothing else has them")
        return self


class ClientCertificate(_Part):
    """Client certificate of the sender: allowed SANs as URI:… or DNS:…, and its roots as PEM."""

    sans: Annotated[tuple[str, ...], Field(min_length=1)]
    authorities: str


class Source(_Part):
    """Sources from which deliveries may come. They narrow; only the signature is proof."""

    cidrs: tuple[Annotated[str, AfterValidator(_cidr)], ...] = ()
    client_certificate: ClientCertificate | None = None


class Target(_Part):
    """Workload that receives verified deliveries.

    `callee` is `<namespace>/<name>` of its ServiceIdentity, as in the gateway's `identity.json`.
    """

    callee: str
    spiffe_id: WorkloadID
    host: Annotated[str, Field(pattern=_HOST)]
    port: Annotated[int, Field(ge=1, le=65535)]
    path: Path
    workflow: Annotated[str, Field(min_length=1)]


class Limits(_Part):
    """Maximum body size in bytes and verified deliveries per second, for each gateway replica."""

    body: Annotated[int, Field(ge=1, le=16 * 1024 * 1024)]
    requests_per_second: Annotated[int, Field(ge=1, le=100_000)]


class Endpoint(_Part):
    """Endpoint. Durations are in seconds, `accepts_unsigned_until` in seconds since the epoch.

    `path` is the whole raw path of deliveries, compared byte for byte. Without a `target` the
    gateway rejects all deliveries, for the reason in `suspended`.
    """

    version: Literal["v1alpha1"]
    endpoint: str
    uid: str
    path: Path
    signing: Signing
    tolerance: Annotated[int, Field(ge=1, le=3600)]
    replay_window: Annotated[int, Field(ge=2, le=30 * 24 * 3600)]
    source: Source = Source()
    target: Target | None
    suspended: str = ""
    limits: Limits
    accepts_unsigned_until: int | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.replay_window < 2 * self.tolerance:
            raise ValueError("replayWindow is shorter than twice the tolerance")
        unsigned = self.signing.name is SchemeName.GITLAB_TOKEN
        if unsigned is (self.accepts_unsigned_until is None):
            raise ValueError("unsigned deliveries need an end, and nothing else has one")
        return self


def parse_endpoint(text: bytes | str) -> Endpoint:
    """Return the endpoint of an `endpoint.json`; raises `EndpointError` for anything invalid."""
    try:
        # strict mode accepts lists as tuples and strings as enums only when it parses JSON
        strict_json.parse(text)
        return Endpoint.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        unknown = first["type"] == "extra_forbidden"  # do not quote an unknown name
        place = first["loc"][:-1] if unknown else first["loc"]
        wrong = "it has an unknown member" if unknown else first["msg"]
        where = ".".join(map(str, place)) or "the endpoint"
        raise EndpointError(f"{where}: {wrong}") from None
    except ValueError as error:
        raise EndpointError(str(error)) from None
