"""The table from grants to permissions of NATS (docs.nats.io, "Authorization"): pure, no policy.

A permission is a subject that may be published or subscribed to. Two characters widen a subject
(`*`, `>`), a space turns its rest into a queue group, and `{{…}}` is filled in by the server, so
none of them is taken from a name: what a grant does not say in so many letters is not granted.

What no permission of NATS can keep from happening: whoever asks JetStream says where the answer
goes, and the server sends it there whether or not the asker may publish there (nats-server #8274,
seen with 2.15.1). So who consumes from a stream can have its messages sent to any subscriber of
the account, and who publishes into one its acknowledgements. They come with the subject they were
stored under, by which a receiver can tell them.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum

from troth.trust.grants import Action, Grant, Rule, Topic

SUBJECT = "SUBJECT"
"""The `kind` of a rule that permits a subject."""

_WIDENING = ("*", ">", "{{")
_PATH_CHARACTERS = "./\\"


class Operation(StrEnum):
    """What a rule permits to do with its subject, as the `operation` of a `Rule`."""

    PUBLISH = "PUB"
    SUBSCRIBE = "SUB"


def rules(grants: Iterable[Grant]) -> frozenset[Rule]:
    """Return the permissions that grants come to.

    A prefix is a name with its last dot, such as `prod.orders.`. Who consumes without a group may
    be in any queue group until a rule for the same subject names one: the server has it so. With a
    stream, `group` is the durable consumer, which whoever owns the stream has created with the
    topic as its filter: the server never compares that filter with anybody's permissions.

    Raises `ValueError`, with the sentence to show, for a name that NATS would understand as more
    than the grant says.
    """
    return frozenset(rule for grant in grants for rule in _rules(grant))


def inbox_prefix(principal: str) -> str:
    """Return what the inboxes of a principal begin with; its clients must be configured with it.

    One token, different for every principal, so that none is inside another's, and outside of
    `_INBOX.>`, which clients that were not made by Troth may be allowed to read.
    """
    _check_characters("principal", principal)
    # Escaped as in quoted-printable, because `shop` must not own the inboxes of `shop.checkout`.
    return "_INBOX_" + principal.replace("=", "=3D").replace(".", "=2E")


def _rules(grant: Grant) -> Iterator[Rule]:
    inbox = f"{inbox_prefix(grant.principal)}.>"
    subject = _subject(grant.topic)
    if grant.group:
        _check_tokens("group", grant.group)
    if grant.stream:
        _check_name("stream", grant.stream)
    if grant.action is Action.PUBLISH:
        yield _rule(grant, Operation.PUBLISH, subject)
        # The stream's acknowledgement of a message comes as the reply to a request.
        yield _rule(grant, Operation.SUBSCRIBE, inbox)
    elif not grant.stream:
        queue = f" {grant.group}" if grant.group else ""
        yield _rule(grant, Operation.SUBSCRIBE, subject + queue)
    else:
        if not grant.group:
            raise ValueError(
                f"stream {grant.stream!r} is read by a durable consumer; set its name as the group"
            )
        _check_name("group", grant.group)
        consumer = f"{grant.stream}.{grant.group}"
        yield _rule(grant, Operation.PUBLISH, f"$JS.API.CONSUMER.MSG.NEXT.{consumer}")
        yield _rule(grant, Operation.PUBLISH, f"$JS.API.CONSUMER.INFO.{consumer}")
        yield _rule(grant, Operation.PUBLISH, f"$JS.ACK.{consumer}.>")
        yield _rule(grant, Operation.SUBSCRIBE, inbox)


def _rule(grant: Grant, operation: Operation, subject: str) -> Rule:
    return Rule(grant.principal, SUBJECT, "", subject, operation)


def _subject(topic: Topic) -> str:
    name = topic.name
    if topic.prefix:
        if not name.endswith("."):
            raise ValueError(
                f"prefix {name!r} ends within a token, but NATS permits only whole tokens; end "
                "it with a dot"
            )
        name = name.removesuffix(".")
    _check_tokens("topic", name)
    # `$` begins the server's own subjects; `_` the inboxes, of clients and of servers.
    if name[0] in "$_":
        raise ValueError(f"topic {name!r} begins with {name[0]!r}, which NATS reserves")
    return f"{name}.>" if topic.prefix else name


def _check_name(what: str, name: str) -> None:
    """Raise `ValueError` for what is no name of a stream or a consumer."""
    _check_characters(what, name)
    if any(character in _PATH_CHARACTERS for character in name):
        raise ValueError(f"{what} {name!r} has a dot or a slash, which NATS does not allow there")


def _check_tokens(what: str, name: str) -> None:
    _check_characters(what, name)
    if not all(name.split(".")):
        raise ValueError(f"{what} {name!r} has an empty token")


def _check_characters(what: str, name: str) -> None:
    if not name:
        raise ValueError(f"the {what} is empty")
    for part in _WIDENING:
        if part in name:
            raise ValueError(f"{what} {name!r} contains {part!r}, which would widen it")
    # Separators, controls, what formats and is not seen, and what no character is assigned to.
    if any(unicodedata.category(character)[0] in "ZC" for character in name):
        raise ValueError(f"{what} {name!r} contains a space or an invisible character")
