"""Base class of the descriptions of brokers: what every broker type has."""

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from troth.resources.messaging.names import ServerAddress
from troth.resources.references import LocalReference
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Rule

Servers = Annotated[tuple[ServerAddress, ...], Field(min_length=1, max_length=16), SET]

CERTIFICATES_NEED_TLS = Rule(
    cel="!has(self.clients) || self.clients != 'MTLS' || has(self.tls)",
    message="set tls with clients: MTLS; a client certificate needs a connection with TLS",
    holds=lambda broker: broker.clients != "MTLS" or broker.tls is not None,
)


class BrokerTLS(Model):
    """TLS settings to verify the servers."""

    ca_secret_ref: LocalReference | None = None
    """Secret in this namespace whose ca.crt holds the roots to trust. Defaults to the roots of the
    system."""


class Groups(StrEnum):
    """Whether consumers of a broker type name a consumer group."""

    OPTIONAL = "Optional"
    REQUIRED = "Required"
    UNKNOWN = "Unknown"
    """The broker type has no groups."""


class BrokerDescription(Model, ABC):
    """Description of a broker in `spec.<type>`, and the facts of its type that consent depends on.

    A fact that only the broker's rules or credentials depend on belongs to its dialect
    (`troth.brokers.protocol.Dialect`).
    """

    groups: ClassVar[Groups] = Groups.OPTIONAL
    groups_span_topics: ClassVar[bool] = False
    """Whether a group belongs to no topic: a member of one has a say in all that the group reads.
    Otherwise a group belongs to its topics, and a durable consumer to its stream."""
    has_streams: ClassVar[bool] = False
    """Whether messages are stored in streams that have names of their own, beside the topics."""

    if TYPE_CHECKING:
        # Each type declares these two itself, with its own text, in the order of its CRD.
        tls: BrokerTLS | None
        admin_secret_ref: LocalReference

    @property
    @abstractmethod
    def addresses(self) -> tuple[str, ...]:
        """Servers to which clients connect, as host:port."""

    @property
    def by_certificate(self) -> bool:
        """Whether clients authenticate with their identity's certificate."""
        return False

    @property
    def principal_part(self) -> str:
        """Separate part of the servers that holds the principals, empty if there is only one."""
        return ""

    @property
    def topic_part(self) -> str:
        """Separate part of the servers that holds the topics, empty if there is only one."""
        return self.principal_part
