"""Translation of grants to NATS permissions (docs.nats.io, "Authorization"). Pure, no policy.

A permission is a subject that a client may publish or subscribe to. In a subject, `*` and `>` are
wildcards, a space begins a queue group, and the server expands `{{…}}`. Names with any of these are
rejected, so a grant permits only what it literally says.

NATS permissions cannot prevent one thing. A client of JetStream chooses the reply subject, and the
server sends the answer there even if the client may not publish there (nats-server #8274, seen with
2.15.1). So a consumer of a stream can direct its messages to any subscriber in the account. Troth
therefore grants consumers of streams and subscribers only in separate accounts
(`troth.trust.topics.groups.consumer_has_stream`). A stream that captures such a message stores it
under its original subject, so a durable consumer with a filter for other topics never delivers it.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from enum import StrEnum

from troth.brokers.nats.subjects import covers, overlap
from troth.resources.messaging.message_broker import Owns
from troth.trust.grants import Action, Grant, Rule, Topic

SUBJECT = "SUBJECT"
"""`kind` of a rule that permits a subject."""

_WIDENING = ("*", ">", "{{")
_INBOX = "_INBOX_"
_READING = (
    "CONSUMER.MSG.NEXT.{}.*",
    "CONSUMER.CREATE.{}",
    "CONSUMER.CREATE.{}.>",
    "CONSUMER.DURABLE.CREATE.{}.*",
    "STREAM.MSG.GET.{}",
    "STREAM.SNAPSHOT.{}",
    "DIRECT.GET.{}",
    "DIRECT.GET.{}.>",
)
"""Requests to the JetStream API that read a stream, or create a consumer that does."""
_DURABLE = re.compile(
    r"\$JS\.(API\.CONSUMER\.(MSG\.NEXT|INFO)|ACK)\.(?P<stream>[^.]+)\.(?P<durable>[^.]+)(\.>)?"
)
_READ = re.compile(r"\$JS\.API\.(DIRECT\.GET|STREAM\.INFO)\.(?P<stream>[^.]+)")
_PATH_CHARACTERS = "./\\"


class Operation(StrEnum):
    """`operation` of a `Rule`: what it permits with its subject."""

    PUBLISH = "PUB"
    SUBSCRIBE = "SUB"


def rules(grants: Iterable[Grant]) -> frozenset[Rule]:
    """Return the permissions for grants.

    A prefix is a name with its last dot, such as `prod.orders.`. The server lets a subscriber join
    any queue group, until a rule for the same subject names one. So a consumer without a group also
    has a rule that names a group of its own.

    A reviewer reads a whole stream, whatever its topic: the server compares no subject of a direct
    get. `troth.trust.topics.reviewing.letters_have_own_stream` keeps other messages out of it.

    With a stream, `group` is the durable consumer. The owner of the stream must create it with the
    topic as its filter, because the server never compares that filter with permissions.

    Raises `ValueError`, with a message for the status, for a name that NATS would interpret as more
    than the grant says, and for a stream without a group.
    """
    return frozenset(rule for grant in grants for rule in _rules(grant))


def everything(principal: str) -> frozenset[Rule]:
    """Return the permissions of a principal that may publish and subscribe to every subject."""
    return frozenset(Rule(principal, SUBJECT, "", ">", operation) for operation in Operation)


def access(rule: Rule, topic: Topic, stream: str = "") -> frozenset[Action]:
    """Return what a permission allows on any of some topics, or denies on all of them.

    A client reads a stream by publishing requests to the JetStream API (docs.nats.io, "JetStream
    wire API").
    """
    subject, _, queue = rule.name.partition(" ")
    allows = rule.effect == "ALLOW"
    if rule.kind != SUBJECT or (queue and not allows):
        return frozenset()
    concerns = overlap if allows else covers
    found = set()
    if concerns(subject, _pattern(topic)):
        found.add(Action.PUBLISH if rule.operation == Operation.PUBLISH else Action.CONSUME)
    if stream and rule.operation == Operation.PUBLISH:
        asked = [concerns(subject, f"$JS.API.{each.format(stream)}") for each in _READING]
        if any(asked) if allows else all(asked):
            found.add(Action.CONSUME)
    return frozenset(found)


def is_wildcard(rule: Rule) -> bool:
    """Return whether the subject of a permission has nothing but wildcards."""
    subject, _, _ = rule.name.partition(" ")
    return rule.kind == SUBJECT and set(subject.split(".")) <= {"*", ">"}


def is_owned(rule: Rule, owns: Owns) -> bool:
    """Return whether everything that a permission of Troth's names is owned."""
    subject, _, queue = rule.name.partition(" ")
    if rule.operation == Operation.PUBLISH:
        read = _READ.fullmatch(subject)
        if read is not None:
            return read["stream"] in owns.streams
        durable = _DURABLE.fullmatch(subject)
        if durable is not None:
            return durable["stream"] in owns.streams and durable["durable"].startswith(
                owns.group_prefixes
            )
        return subject.startswith(owns.topic_prefixes)
    own = inbox_prefix(rule.principal)
    if subject == f"{own}.>":
        return True
    # consumers of streams could have messages sent to a subscriber
    return (
        not owns.streams
        and subject.startswith(owns.topic_prefixes)
        and (queue in {"", own} or queue.startswith(owns.group_prefixes))
    )


def _pattern(topic: Topic) -> str:
    """Return the pattern of all subjects of some topics, or more if a prefix ends in a token."""
    whole = topic.name.rpartition(".")[0]
    return (f"{whole}.>" if whole else ">") if topic.prefix else topic.name


def inbox_prefix(principal: str) -> str:
    """Return the inbox prefix of a principal, which its clients must be configured with.

    The prefix is one token and unique to the principal, so no principal's inboxes are inside those
    of another. It is outside `_INBOX.>`, which foreign clients may be allowed to read.
    """
    _check_characters("principal", principal)
    # Escaped as in quoted-printable, because `shop` must not read the inboxes of `shop.checkout`.
    return _INBOX + principal.replace("=", "=3D").replace(".", "=2E")


def _rules(grant: Grant) -> Iterator[Rule]:
    inbox = f"{inbox_prefix(grant.principal)}.>"
    subject = _subject(grant.topic)
    if grant.group:
        _check_tokens("group", grant.group)
        if grant.group.startswith(_INBOX):
            raise ValueError(
                f"group {grant.group!r} begins with {_INBOX!r}, which Troth reserves; choose "
                "another group"
            )
    if grant.stream:
        _check_name("stream", grant.stream)
    if grant.action is Action.PUBLISH:
        yield _rule(grant, Operation.PUBLISH, subject)
        # A stream acknowledges a message with a reply to the publisher's inbox.
        yield _rule(grant, Operation.SUBSCRIBE, inbox)
    elif grant.action is Action.REVIEW:
        if not grant.stream:
            raise ValueError(f"topic {grant.topic.name!r} is read from a stream; set its name")
        # Direct gets read messages by their numbers (ADR-31), so no consumer is created.
        yield _rule(grant, Operation.PUBLISH, f"$JS.API.DIRECT.GET.{grant.stream}")
        yield _rule(grant, Operation.PUBLISH, f"$JS.API.STREAM.INFO.{grant.stream}")
        yield _rule(grant, Operation.SUBSCRIBE, inbox)
    elif not grant.stream:
        if not grant.group:
            yield _rule(grant, Operation.SUBSCRIBE, subject)
        queue = grant.group or inbox_prefix(grant.principal)
        yield _rule(grant, Operation.SUBSCRIBE, f"{subject} {queue}")
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
    name, what = topic.name, "prefix" if topic.prefix else "topic"
    if topic.prefix:
        if not name.endswith("."):
            raise ValueError(
                f"prefix {name!r} ends within a token, but NATS permits only whole tokens; end "
                "it with a dot"
            )
        name = name.removesuffix(".")
    _check_tokens(what, name)
    # The server's own subjects begin with `$`, inboxes of clients and servers with `_`.
    if name[0] in "$_":
        raise ValueError(
            f"{what} {name!r} begins with {name[0]!r}, which NATS reserves; choose another {what}"
        )
    return f"{name}.>" if topic.prefix else name


def _check_name(what: str, name: str) -> None:
    """Raise `ValueError` for an invalid name of a stream or a consumer."""
    _check_characters(what, name)
    if any(character in _PATH_CHARACTERS for character in name):
        raise ValueError(
            f"{what} {name!r} has a dot or a slash, which NATS does not allow there; choose "
            f"another {what}"
        )


def _check_tokens(what: str, name: str) -> None:
    _check_characters(what, name)
    if not all(name.split(".")):
        raise ValueError(f"{what} {name!r} has an empty token; choose another {what}")


def _check_characters(what: str, name: str) -> None:
    if not name:
        raise ValueError(f"the {what} is empty; choose one")
    for part in _WIDENING:
        if part in name:
            raise ValueError(
                f"{what} {name!r} contains {part!r}, which would widen the grant; remove it"
            )
    # Unicode categories Z (separators) and C (control, format, surrogate, unassigned).
    if any(unicodedata.category(character)[0] in "ZC" for character in name):
        raise ValueError(f"{what} {name!r} contains a space or an invisible character; remove it")
