"""What the Secret of a credential says of its broker, in public: pure."""

from troth.brokers.nats.rules import inbox_prefix
from troth.planning.steps.broker_credentials import CredentialRequest
from troth.resources.messaging.message_broker import BrokerType
from troth.world.observation.broker_secrets import ACCOUNT, BOOTSTRAP_SERVERS, INBOX, SERVERS
from troth.world.observation.objects import ROOTS


def public_data(request: CredentialRequest) -> dict[str, str]:
    """Return the part of a Secret's data that is no secret.

    Where `CredentialSecret.public` is something else, the Secret is out of date. Raises
    `ValueError` for a principal that NATS would misread.
    """
    said = {ROOTS: request.authorities, ACCOUNT: request.account}
    if request.type is BrokerType.NATS:
        said[SERVERS] = ",".join(f"tls://{server}" for server in request.servers)
        said[INBOX] = inbox_prefix(request.principal)
    else:
        said[BOOTSTRAP_SERVERS] = ",".join(request.servers)
    return {key: text for key, text in said.items() if text}
