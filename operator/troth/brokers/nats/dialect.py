"""Dialect of NATS in operator mode.

Credentials need the extra `nats`, which is imported when a credential is issued or read.
"""

from collections.abc import Mapping
from datetime import datetime

from troth.brokers.errors import needs_extra
from troth.brokers.nats.rules import access, inbox_prefix, is_owned, is_wildcard, rules
from troth.brokers.protocol import AdminDialect, CredentialRequest, Dialect, NewCredential
from troth.resources.messaging.message_broker import MessageBroker, Owns
from troth.trust.grants import Action, Grant, Rule, Topic

SERVERS, INBOX = "servers", "inbox.prefix"


class NatsDialect(Dialect):
    """Dialect of NATS: an account's signing keys have the permissions, one key for each user."""

    name = "NATS"
    extra = "nats"
    driver = "troth.brokers.nats.driver"
    secret_key = "user.creds"  # noqa: S105 - the key of the Secret
    public_keys = frozenset({SERVERS, INBOX})

    def obstacle(self, broker: MessageBroker) -> str:
        """Return why Troth does not support clients that authenticate with certificates."""
        if not broker.spec.by_certificate:
            return ""
        return (
            "NATS in operator mode identifies clients by JWTs only, and users of verify_and_map "
            "are in the server's own configuration; set clients: JWT"
        )

    def rules(self, grant: Grant) -> frozenset[Rule]:
        """Return the subject permissions of a grant."""
        return rules([grant])

    def access(self, rule: Rule, topic: Topic, stream: str = "") -> frozenset[Action]:
        """Return what a permission allows or denies on topics."""
        return access(rule, topic, stream)

    def is_owned(self, rule: Rule, owns: Owns) -> bool:
        """Return whether the topic, or the stream and its durable, of a permission is owned."""
        return is_owned(rule, owns)

    def is_wildcard(self, rule: Rule) -> bool:
        """Return whether a permission is for every subject, or for all with so many tokens."""
        return is_wildcard(rule)

    def signer_of(self, principal: str) -> str:
        """Return the account's key for a user that it has signed, written as key/user."""
        key, slash, _ = principal.partition("/")
        # the names of imports, exports and mappings have a colon, and a subject may have a slash
        return key if slash and ":" not in key else ""

    def issue(self, request: CredentialRequest, now: datetime) -> NewCredential:
        """Return a `.creds` file, and the public key that signed its user."""
        with needs_extra(self.name, self.extra):
            from troth.brokers.nats.credentials import issue  # noqa: PLC0415 - an extra
        return issue(request, now)

    def material_of(self, principal: str, secret: str) -> str:
        """Return the public key that signed the user of a `.creds` file."""
        with needs_extra(self.name, self.extra):
            from troth.brokers.nats.credentials import material_of  # noqa: PLC0415 - an extra
        return material_of(principal, secret)

    def fingerprint_of(self, material: str) -> str:
        """Return the public key itself."""
        return material

    def public_data(self, request: CredentialRequest) -> Mapping[str, str]:
        """Return the servers, and the inbox prefix that the client must use."""
        servers = ",".join(f"tls://{server}" for server in request.servers)
        return {SERVERS: servers, INBOX: inbox_prefix(request.principal)}

    def admin(self, broker: MessageBroker) -> AdminDialect | str:
        """Return why Troth does not rotate it: it cannot issue users of the system account."""
        return (
            f"the admin credential of MessageBroker {broker.ref} is a user of NATS's system "
            "account, which only the NATS operator's key can issue; put new system.creds into the "
            "admin Secret, and delete this CredentialRotation"
        )
