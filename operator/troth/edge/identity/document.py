"""`identity.json`, read: whom a workload accepts, whom it calls, and what callers must carry.

Written by the operator (`troth.planning.identity.document`). A member that this version does not
know is passed over at the top, where whole new subjects are added; within what it knows it is
refused, since there it may be a restriction that would then not be kept.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from troth.pki import strict_json
from troth.pki.errors import SPIFFEIDError
from troth.pki.jwk import key_id, load_public_jwk
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens import parse_scopes
from troth.resources.schema.model import spelled


class DocumentError(ValueError):
    """An `identity.json` that cannot be read; the sentence says where."""


def _workload(text: str) -> str:
    try:
        identity = SPIFFEID.parse(text)
    except SPIFFEIDError as error:
        raise ValueError(str(error)) from None
    if not identity.path:
        raise ValueError("a workload's SPIFFE ID needs a path")
    return text


def _scope(text: str) -> str:
    if parse_scopes(text) != frozenset({text}):
        raise ValueError("a scope is printable ASCII without spaces and quotes")
    return text


WorkloadID = Annotated[str, AfterValidator(_workload)]
Scopes = frozenset[Annotated[str, AfterValidator(_scope)]]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=spelled, populate_by_name=True
    )


class AcceptedPort(_Part):
    """A port that a caller may call, what it may do there, and what it may say of its own callers.

    `ClientCertificate` is the certificate of a gateway's client, by X-Forwarded-Client-Cert.
    """

    name: str
    scopes: Scopes
    forwards: frozenset[Literal["ClientCertificate"]] = frozenset()


class Accepted(_Part):
    """A caller that is accepted."""

    spiffe_id: WorkloadID
    ports: tuple[AcceptedPort, ...]

    @cached_property
    def granted(self) -> Mapping[str, frozenset[str]]:
        """What the caller may do, by the ports that it may call."""
        return {each.name: each.scopes for each in self.ports}

    @cached_property
    def forwarded(self) -> Mapping[str, frozenset[str]]:
        """What the caller may say of its own callers, by the ports that it may call."""
        return {each.name: each.forwards for each in self.ports}


class CallToken(_Part):
    """The token that a call needs."""

    audience: str
    scopes: Scopes


class Called(_Part):
    """A callee; `name` is `<namespace>/<name>` of its ServiceIdentity."""

    name: str
    spiffe_id: WorkloadID
    ports: tuple[str, ...]
    token: CallToken | None = None


class RequiredToken(_Part):
    """The token that callers must bring."""

    audience: str
    proof_of_possession: Literal["Required", "Optional"]


class Requires(_Part):
    """What callers must carry: items of the propagated context, and a token."""

    context: frozenset[Literal["RequestID", "Subject", "Tenant"]]
    token: RequiredToken | None = None


class StartsTransactions(_Part):
    """The transactions that this workload may begin."""

    scopes: Scopes
    context: frozenset[str]


class MessageContext(_Part):
    """What a message must carry. Actor: which workload published it."""

    require: frozenset[Literal["Actor", "Subject", "Tenant", "RequestID"]]


class DeadLetter(_Part):
    """Where a consumer puts what it could not consume.

    Required: a person looks at a message before it is published again. Optional: a program may.
    """

    topic: str
    review: Literal["Required", "Optional"]


class Messages(_Part):
    """What this workload may do with the messages of a topic, or of all under a prefix.

    `policy` and `broker` are `<namespace>/<name>`, `principal` is its name at the broker. `schema_`
    is the text of a JSON Schema that a message satisfies, None where any may be sent; where there
    is a `schema_fault` no message is good. `producers` are whose messages may be consumed.
    """

    policy: str
    action: Literal["Publish", "Consume"]
    group: str | None = None
    broker: str
    type: Literal["kafka", "rabbitmq", "nats", "mqtt", "valkey"]
    topic: str | None = None
    prefix: str | None = None
    stream: str | None = None
    principal: str
    context: MessageContext
    schema_: str | None = None
    schema_fault: str | None = None
    dead_letter: DeadLetter | None = None
    producers: frozenset[WorkloadID] = frozenset()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.topic is None) is (self.prefix is None):
            raise ValueError("messages have either a topic or a prefix")
        if self.schema_ is not None and self.schema_fault is not None:
            raise ValueError("messages have either a schema or the reason why there is none")
        if self.action == "Publish" and (self.producers or self.dead_letter):
            raise ValueError("only consumers have producers and deadLetter")
        return self


class WebhookEndpoint(_Part):
    """An endpoint whose deliveries come here: its name with its namespace, the path that they come
    to, and the workflow that they are for.
    """

    name: str
    path: str
    workflow: str


class KeySet(_Part):
    """Public keys as JWKs (RFC 7517 section 5)."""

    keys: tuple[Mapping[str, str], ...]

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if len(self.public) != len(self.keys):
            raise ValueError("a key is listed twice")
        return self

    @cached_property
    def public(self) -> Mapping[str, EllipticCurvePublicKey]:
        """The keys, by `kid`."""
        read = [load_public_jwk(each) for each in self.keys]
        return {key_id(key): key for key in read}


class Webhooks(_Part):
    """A port for webhooks alone: the gateway that hands them on, and the keys it signs with."""

    gateway: WorkloadID
    issuer: WorkloadID
    keys: KeySet
    port: str
    endpoints: tuple[WebhookEndpoint, ...]

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.issuer != self.gateway:
            raise ValueError("the issuer of a gateway's tokens is the gateway itself")
        return self

    @cached_property
    def names(self) -> frozenset[str]:
        """The endpoints' names."""
        return frozenset(each.name for each in self.endpoints)


class Document(_Part):
    """What `identity.json` says. `issuers` and `issuer_ids` are by trust domain."""

    model_config = ConfigDict(extra="ignore")

    version: Literal["v1alpha1"]
    spiffe_id: WorkloadID
    issuers: Mapping[str, str] = {}
    issuer_ids: Annotated[Mapping[str, WorkloadID], Field(alias="issuerIDs")] = {}
    accepts: tuple[Accepted, ...]
    calls: tuple[Called, ...]
    requires: Requires
    starts_transactions: StartsTransactions | None = None
    messages: tuple[Messages, ...] = ()
    webhooks: tuple[Webhooks, ...] = ()

    @cached_property
    def gateways(self) -> Mapping[str, Mapping[str, Webhooks]]:
        """Who hands webhooks on, by the ports that are for them alone, and by its SPIFFE ID."""
        found: dict[str, dict[str, Webhooks]] = {}
        for each in self.webhooks:
            found.setdefault(each.port, {})[each.gateway] = each
        return found

    @cached_property
    def callers(self) -> Mapping[str, Accepted]:
        """Who is accepted, by SPIFFE ID."""
        return {each.spiffe_id: each for each in self.accepts}


def parse_document(text: bytes | str) -> Document:
    """Read an `identity.json`; raises `DocumentError`, and reads nothing in two ways."""
    try:
        document = Document.model_validate(strict_json.parse(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the document"
        raise DocumentError(f"{where}: {first['msg']}") from None
    except ValueError as error:
        raise DocumentError(str(error)) from None
    if len(document.callers) != len(document.accepts):
        raise DocumentError("accepts: a caller is listed twice")
    for accepted in document.accepts:
        if len(accepted.granted) != len(accepted.ports):
            raise DocumentError("accepts: a port is listed twice for one caller")
    if len({(each.policy, each.action, each.group) for each in document.messages}) != len(
        document.messages
    ):
        raise DocumentError("messages: a policy is listed twice for one action and group")
    if len({(each.port, each.gateway) for each in document.webhooks}) != len(document.webhooks):
        raise DocumentError("webhooks: a gateway is listed twice for one port")
    return document
