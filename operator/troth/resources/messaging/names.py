"""Names at a message broker, and its address.

Only characters that every broker takes literally are valid. `*`, `>`, `#`, `+`, `?`, `[` and `]`
are wildcards for some broker. `{` begins a template of NATS, `$` a reserved name of NATS and MQTT.
White space ends a name on the wire, and other scripts have letters that look alike. Limits of a
single broker are checked once the broker is known.
"""

from typing import Annotated

from pydantic import StringConstraints

from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import DNS_LABEL, PORT, matching

NAME_LIMIT = 249
"""Maximum length of a topic name in Kafka. No other broker has a lower limit."""

PRINCIPAL_LIMIT = 320
"""Maximum length of a foreign principal under `administrators`, and in a message that names it."""

_WORDS = "letters, digits and . _ : / -, without wildcards"

TopicName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LIMIT),
    matching("^[A-Za-z0-9._:/-]*$", f"write a topic name as {_WORDS}, such as prod.orders.v1"),
]
TopicPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LIMIT),
    matching(
        "^[A-Za-z0-9._:/-]*$",
        f"write a topic prefix as {_WORDS}, such as prod.",
    ),
]
PrincipalPrefix = Annotated[
    str,
    # a namespace and a name of 63 characters each come after it
    StringConstraints(min_length=1, max_length=64),
    matching(
        "^[A-Za-z0-9._-]*$",
        "write a principal prefix as letters, digits and . _ -, such as troth-prod-",
    ),
]
GroupName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LIMIT),
    matching("^[A-Za-z0-9._:/-]*$", f"write a group name as {_WORDS}, such as fulfilment"),
]
GroupPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LIMIT),
    matching("^[A-Za-z0-9._:/-]*$", f"write a group prefix as {_WORDS}, such as shop-"),
]
StreamName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LIMIT),
    matching(
        "^[A-Za-z0-9_-]*$",
        "write a stream name as letters, digits, '_' and '-', such as ORDERS",
    ),
]
VirtualHost = Annotated[
    str,
    StringConstraints(min_length=1, max_length=NAME_LIMIT),
    matching("^[A-Za-z0-9._:/-]*$", f"write a virtual host as {_WORDS}, such as /"),
]
TenantName = Annotated[
    str,
    # what a token may hold as a tenant (`troth.pki.tokens.signing.is_text`)
    StringConstraints(min_length=1, max_length=256),
    Rule(
        cel=r"self.matches('^[\\p{L}\\p{M}\\p{N}\\p{P}\\p{S} ]*$')",
        message="write a tenant in printable characters, without line breaks, such as acme",
        holds=str.isprintable,
    ),
]
AccountKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=56),
    matching(
        "^A[A-Z2-7]{55}$",
        "write the account's public key, 56 letters and digits that begin with A, as nsc describe "
        "account shows it",
    ),
]

OperatorKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=56),
    matching(
        "^O[A-Z2-7]{55}$",
        "write the operator's public key, 56 letters and digits that begin with O, as nsc describe "
        "operator shows it",
    ),
]
ForeignPrincipal = Annotated[
    str,
    StringConstraints(min_length=1, max_length=PRINCIPAL_LIMIT),
    matching(
        # any printable ASCII except *, which is every principal
        "^[ -)+-~]*$",
        "write a principal as Exclusive of a TopicPolicy names it, in printable ASCII without *",
    ),
]


ServerAddress = Annotated[
    str,
    StringConstraints(min_length=1, max_length=259),
    matching(
        rf"^{DNS_LABEL}(\.{DNS_LABEL})*:{PORT}$",
        "write a server as host:port, the host in lower case, such as kafka.messaging.svc:9093",
    ),
]
