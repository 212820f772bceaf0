"""Parser of `identity.json`: accepted callers, callees, and what callers must present.

The operator writes the file (`writing`). Unknown members are ignored at the top level, where new
features are added. In known parts they are rejected, because an unknown member there may be a
restriction.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from troth.documents.message_schemas import schema_file
from troth.documents.workload_id import WorkloadID
from troth.pki.encodings import strict_json
from troth.pki.keys.jwk import key_id, load_public_jwk
from troth.pki.tokens.signing import is_text, parse_scopes
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.schemas.schema_text import digest_of
from troth.resources.schema.model import spelled


class DocumentError(ValueError):
    """An `identity.json` that cannot be read. The text names the place of the fault."""


def _scope(text: str) -> str:
    if parse_scopes(text) != frozenset({text}):
        raise ValueError("a scope is printable ASCII without spaces and quotes")
    return text


def _tenant(text: str) -> str:
    if not is_text(text):
        raise ValueError("a tenant has 1 to 256 printable characters")
    return text


Scopes = frozenset[Annotated[str, AfterValidator(_scope)]]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=spelled, populate_by_name=True
    )


class AcceptedPort(_Part):
    """Port that a caller may call: its scopes there, and what it may assert about its own callers.

    `ClientCertificate` is the certificate of a gateway's client, in X-Forwarded-Client-Cert.
    """

    name: str
    scopes: Scopes
    forwards: frozenset[Literal["ClientCertificate"]] = frozenset()


class Accepted(_Part):
    """Accepted caller."""

    spiffe_id: WorkloadID
    ports: tuple[AcceptedPort, ...]

    @cached_property
    def granted(self) -> Mapping[str, frozenset[str]]:
        """Scopes of the caller, by the ports that it may call."""
        return {each.name: each.scopes for each in self.ports}

    @cached_property
    def forwarded(self) -> Mapping[str, frozenset[str]]:
        """What the caller may assert about its own callers, by the ports that it may call."""
        return {each.name: each.forwards for each in self.ports}


class CallToken(_Part):
    """Token that a call needs."""

    audience: str
    scopes: Scopes


class Called(_Part):
    """Callee; `name` is `<namespace>/<name>` of its ServiceIdentity."""

    name: str
    spiffe_id: WorkloadID
    ports: tuple[str, ...]
    token: CallToken | None = None


class RequiredToken(_Part):
    """Token that callers must present."""

    audience: str
    proof_of_possession: Literal["Required", "Optional"]


class Requires(_Part):
    """What callers must present: items of the propagated context, and a token."""

    context: frozenset[Literal["RequestID", "Subject", "Tenant"]]
    token: RequiredToken | None = None


class StartsTransactions(_Part):
    """Transactions that this workload may start."""

    scopes: Scopes
    context: frozenset[str]


class MessageContext(_Part):
    """What a message must carry. Actor: the workload that published the message.

    `evidence` is who answers for subject, tenant and request ID: the producer by its signature, or
    a transaction token in the message. `max_age` is the maximum age of a message in seconds.
    """

    require: frozenset[Literal["Actor", "Subject", "Tenant", "RequestID"]]
    evidence: Literal["Producer", "TransactionToken"] = "Producer"
    max_age: Annotated[int, Field(ge=60, le=7_776_000, strict=True)] = 604_800


class MessageSchema(_Part):
    """Schema of messages. `digest` is the SHA-256 of its text in base64url.

    The text is in `text`, or in the file `file` of the ConfigMap `<identity>-schemas`. `message` is
    the full name of a Protobuf message, None for other types.
    """

    type: Literal["JSONSchema", "Avro", "Protobuf"]
    digest: Annotated[str, Field(pattern="^[A-Za-z0-9_-]{43}$")]
    text: Annotated[str | None, Field(repr=False)] = None
    file: str | None = None
    message: Annotated[str, Field(min_length=1, max_length=512)] | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.text is None) is (self.file is None):
            raise ValueError("a schema has either a text or a file")
        if self.text is not None and digest_of(self.text) != self.digest:
            raise ValueError("the digest of a schema is not that of its text")
        if self.file is not None and self.file != schema_file(self.type, self.digest):
            raise ValueError("the file of a schema is named by its digest and its type")
        if (self.message is None) is (self.type == "Protobuf"):
            raise ValueError("a schema names a message if its type is Protobuf, and only then")
        return self


class DeadLetter(_Part):
    """Topic to which a consumer sends messages that it could not consume.

    Required: a person must look at a message before it is published again. Optional: a program may
    publish it again. The other members are for the worker that carries out reviews: the number of
    `approvals` that a review needs, the maximum number of redrives of a message, and the time in
    seconds for which it keeps its records.
    """

    topic: str
    stream: str | None = None
    review: Literal["Required", "Optional"]
    approvals: Annotated[int, Field(ge=0, le=1, strict=True)] = 1
    redrive_limit: Annotated[int, Field(ge=1, le=100, strict=True)] = 3
    retention: Annotated[int, Field(ge=3600, le=315_360_000, strict=True)] = 7_776_000


class RetryTopic(_Part):
    """Topic on which one consumer alone receives messages again after a review."""

    topic: str
    stream: str | None = None


class ReviewedConsumer(_Part):
    """Consumer whose dead letters a worker reviews: its workloads, group, tenants, retry topic.

    Without a retry topic, messages are delivered again on the policy's own topic. With
    `retry_missing`, they are not delivered again: the policy declares a retry topic, and the
    consumer has no grant there.
    """

    spiffe_ids: Annotated[frozenset[WorkloadID], Field(min_length=1, alias="spiffeIDs")]
    group: str | None = None
    tenants: (
        Annotated[frozenset[Annotated[str, AfterValidator(_tenant)]], Field(min_length=1)] | None
    ) = None
    retry: RetryTopic | None = None
    retry_missing: bool = False


class Messages(_Part):
    """Rights of this workload on a topic, or on all topics with a prefix.

    `policy` and `broker` are `<namespace>/<name>`. `principal` is the workload's name at the
    broker. A message must satisfy one of `schemas`; without them, any message is allowed. The first
    is the current one, and others are earlier ones that are still accepted. With a `schema_fault`,
    no message is valid, even if there are schemas: the operator keeps them to accept them again
    later. `producers` are the workloads whose messages may be consumed.
    `tenants` are those whose messages this consumer accepts, None for all. `reviewers` are the
    workers whose redrives this consumer accepts, on the policy's topic or on `retry`.

    With the action `Review`, the workload reads the dead letters of the policy's `consumers`.
    `reviewers` are then its own SPIFFE IDs, one for each trust domain.
    """

    policy: str
    action: Literal["Publish", "Consume", "Review"]
    group: str | None = None
    broker: str
    type: BrokerType
    topic: str | None = None
    prefix: str | None = None
    stream: str | None = None
    principal: str
    environment: Annotated[str, Field(min_length=1)]
    context: MessageContext
    schemas: tuple[MessageSchema, ...] = ()
    schema_fault: str | None = None
    dead_letter: DeadLetter | None = None
    producers: frozenset[WorkloadID] = frozenset()
    tenants: (
        Annotated[frozenset[Annotated[str, AfterValidator(_tenant)]], Field(min_length=1)] | None
    ) = None
    retry: RetryTopic | None = None
    reviewers: frozenset[WorkloadID] = frozenset()
    consumers: tuple[ReviewedConsumer, ...] = ()

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if (self.topic is None) is (self.prefix is None):
            raise ValueError("messages have either a topic or a prefix")
        if len({(each.digest, each.message) for each in self.schemas}) != len(self.schemas):
            raise ValueError("a schema is listed twice")
        if self.action == "Publish" and (self.producers or self.dead_letter or self.tenants):
            raise ValueError("only consumers have producers, deadLetter and tenants")
        if self.action != "Consume" and (self.tenants or self.retry):
            raise ValueError("only consumers have tenants and retry")
        if self.action == "Publish" and self.reviewers:
            raise ValueError("only consumers and reviewers have reviewers")
        if self.action != "Review" and self.consumers:
            raise ValueError("only reviewers have consumers")
        if self.action == "Review" and self.dead_letter is None:
            raise ValueError("a reviewer has a deadLetter")
        return self


class WebhookEndpoint(_Part):
    """Endpoint whose deliveries this workload receives: name, path, and workflow of deliveries.

    The name is `<namespace>/<name>`.
    """

    name: str
    path: str
    workflow: str


class KeySet(_Part):
    """Public keys as JWKs (RFC 7517, section 5)."""

    keys: tuple[Mapping[str, str], ...]

    @model_validator(mode="after")
    def _can_be_read(self) -> Self:
        if len(self.public) != len(self.keys):
            raise ValueError("a key is listed twice")
        return self

    @cached_property
    def public(self) -> Mapping[str, EllipticCurvePublicKey]:
        """The public keys, by `kid`."""
        read = [load_public_jwk(each) for each in self.keys]
        return {key_id(key): key for key in read}


class Webhooks(_Part):
    """Port for webhooks only: its gateway, and the gateway's signing keys."""

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
    """Content of `identity.json`. `issuers` and `issuer_ids` are by trust domain."""

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
        """The gateways, by webhook port and by SPIFFE ID."""
        found: dict[str, dict[str, Webhooks]] = {}
        for each in self.webhooks:
            found.setdefault(each.port, {})[each.gateway] = each
        return found

    @cached_property
    def schema_files(self) -> Mapping[str, str]:
        """Files of the schemas of messages whose text is not in this document, by digest."""
        return {
            each.digest: each.file
            for entry in self.messages
            for each in entry.schemas
            if each.file is not None
        }

    @cached_property
    def schema_texts(self) -> Mapping[str, str]:
        """Texts of the schemas of messages that are in this document, by digest."""
        return {
            each.digest: each.text
            for entry in self.messages
            for each in entry.schemas
            if each.text is not None
        }

    @cached_property
    def callers(self) -> Mapping[str, Accepted]:
        """The accepted callers, by SPIFFE ID."""
        return {each.spiffe_id: each for each in self.accepts}


def parse_document(text: bytes | str) -> Document:
    """Read an `identity.json` strictly; raises `DocumentError`."""
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
