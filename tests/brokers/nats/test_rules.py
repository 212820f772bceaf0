"""NATS permissions allow exactly the granted subjects."""

import re
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.strategies import more
from troth.brokers.nats.rules import Operation, inbox_prefix, rules
from troth.trust.grants import Action, Grant, Rule, Topic

TOKENS = ("a", "b", "ab", "é", "1")
NAMES = tuple(f"{one}{rest}" for one in TOKENS for rest in ("", ".a", ".b.a"))
PRINCIPALS = ("shop", "shop.a", "shop=2Ea", "till")
QUEUES = ("", "a", "b", "a.b")
STREAMS = ("S", "S2")
DURABLES = ("d", "d2")

topics = st.builds(Topic, st.sampled_from(NAMES)) | st.builds(
    Topic, st.sampled_from([f"{name}." for name in NAMES]), st.just(value=True)
)
grants = st.one_of(
    st.builds(Grant, st.sampled_from(PRINCIPALS), st.just(Action.PUBLISH), topics),
    st.builds(
        Grant, st.sampled_from(PRINCIPALS), st.just(Action.CONSUME), topics, st.sampled_from(QUEUES)
    ),
    st.builds(
        Grant,
        st.sampled_from(PRINCIPALS),
        st.just(Action.CONSUME),
        topics,
        st.sampled_from(DURABLES),
        st.sampled_from(STREAMS),
    ),
    st.builds(
        Grant,
        st.sampled_from(PRINCIPALS),
        st.just(Action.REVIEW),
        topics,
        stream=st.sampled_from(STREAMS),
    ),
)

HOSTILE = (
    *("*", ">", "a.*", "a.>", "a*", "*.a", "a>b", "{{name()}}", "a.{{tag(x)}}"),
    *("", ".", "a.", ".a", "a..b", "a b", " a", "a\t", "a\n", "a\r\nPUB b 0", "a\0b", "a\x7f"),
    *("a\u00a0b", "a\u2003", "a\u2028b", "\u200ba", "a\ufeff", "a\u202eb", "a\ud800"),
)


def matches(pattern: str, subject: str) -> bool:
    """Return whether a NATS pattern matches a literal subject, as documented."""
    wanted, given_ = pattern.split("."), subject.split(".")
    for index, token in enumerate(wanted):
        if token == ">":
            return index == len(wanted) - 1 and len(given_) > index
        if index >= len(given_) or token not in ("*", given_[index]):
            return False
    return len(wanted) == len(given_)


def permits(
    permitted: frozenset[Rule], principal: str, operation: Operation, subject: str, queue: str = ""
) -> bool:
    groups = set()
    for rule in permitted:
        pattern, _, group = rule.name.partition(" ")
        if (rule.principal, rule.operation) == (principal, operation) and matches(pattern, subject):
            groups.add(group)
    # As on the server: a permission without a group allows every group, until one names a group.
    return queue in groups or groups == {""}


def has(topic: Topic, subject: str) -> bool:
    if topic.prefix:
        return subject.startswith(topic.name) and subject != topic.name
    return subject == topic.name


SUBJECTS = sorted({*NAMES, *(f"{name}.{token}" for name in NAMES for token in TOKENS)})


@more(2)
@given(st.lists(grants, max_size=4), st.sampled_from(PRINCIPALS))
def test_exactly_the_granted_subjects_are_allowed(granted: list[Grant], principal: str) -> None:
    permitted = rules(granted)
    mine = [grant for grant in granted if grant.principal == principal]
    for subject in SUBJECTS:
        publishes = any(
            grant.action is Action.PUBLISH and has(grant.topic, subject) for grant in mine
        )
        assert permits(permitted, principal, Operation.PUBLISH, subject) == publishes
        groups = {
            grant.group
            for grant in mine
            if grant.action is Action.CONSUME and not grant.stream and has(grant.topic, subject)
        }
        for queue in QUEUES:
            assert permits(permitted, principal, Operation.SUBSCRIBE, subject, queue) == (
                queue in groups
            )


@more(2)
@given(st.lists(grants, max_size=4), st.sampled_from(PRINCIPALS))
def test_only_the_granted_jetstream_consumer_is_allowed(
    granted: list[Grant], principal: str
) -> None:
    permitted = rules(granted)
    for stream in STREAMS:
        for durable in DURABLES:
            consumes = any(
                (grant.principal, grant.stream, grant.group) == (principal, stream, durable)
                for grant in granted
            )
            for subject in (
                f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{durable}",
                f"$JS.API.CONSUMER.INFO.{stream}.{durable}",
                f"$JS.ACK.{stream}.{durable}.1.2.3.4.5",
            ):
                assert permits(permitted, principal, Operation.PUBLISH, subject) == consumes
            for subject in (
                f"$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{durable}",
                f"$JS.API.CONSUMER.CREATE.{stream}.{durable}",
                f"$JS.API.CONSUMER.CREATE.{stream}.{durable}.a",
                f"$JS.API.CONSUMER.DELETE.{stream}.{durable}",
                f"$JS.API.STREAM.MSG.GET.{stream}",
                f"$JS.API.STREAM.SNAPSHOT.{stream}",
                f"$JS.API.STREAM.PURGE.{stream}",
                f"$JS.API.STREAM.MSG.DELETE.{stream}",
                f"$JS.API.DIRECT.GET.{stream}.a",
            ):
                assert not permits(permitted, principal, Operation.PUBLISH, subject)
        reviews = any(
            (grant.principal, grant.stream, grant.action) == (principal, stream, Action.REVIEW)
            for grant in granted
        )
        for subject in (f"$JS.API.STREAM.INFO.{stream}", f"$JS.API.DIRECT.GET.{stream}"):
            assert permits(permitted, principal, Operation.PUBLISH, subject) == reviews


@more(2)
@given(st.lists(grants, max_size=4), st.sampled_from(PRINCIPALS), st.sampled_from(PRINCIPALS))
def test_inbox_is_readable_only_by_its_principal(
    granted: list[Grant], reader: str, owner: str
) -> None:
    reads = permits(rules(granted), reader, Operation.SUBSCRIBE, f"{inbox_prefix(owner)}.x.1")
    needs = any(
        grant.principal == reader and (grant.action is Action.PUBLISH or grant.stream)
        for grant in granted
    )
    assert reads == (needs and reader == owner)
    assert not permits(rules(granted), reader, Operation.SUBSCRIBE, "_INBOX.x.1")


@given(st.text(st.sampled_from("ab.=2E3D-_"), min_size=1), st.text(st.sampled_from("ab.=2E3D-_")))
def test_no_inbox_of_a_principal_contains_that_of_another(one: str, other: str) -> None:
    assume(other and one != other)
    assert not matches(f"{inbox_prefix(one)}.>", f"{inbox_prefix(other)}.x")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("prefix", [False, True])
def test_topic_name_that_would_widen_a_grant_is_rejected(name: str, *, prefix: bool) -> None:
    topic = Topic(f"{name}." if prefix else name, prefix)
    for action in Action:
        with pytest.raises(ValueError, match=r"topic|prefix"):
            rules([Grant("shop", action, topic)])


@pytest.mark.parametrize("name", ["$SYS.a", "$JS.API.INFO", "_INBOX_shop.a", "_INBOX.a", "_R_.a"])
def test_server_subject_or_inbox_is_no_topic(name: str) -> None:
    with pytest.raises(ValueError, match="reserves"):
        rules([Grant("shop", Action.CONSUME, Topic(name))])
    with pytest.raises(ValueError, match="reserves"):
        rules([Grant("shop", Action.CONSUME, Topic(f"{name}.", prefix=True))])


@pytest.mark.parametrize("name", [hostile for hostile in HOSTILE if hostile])
def test_group_or_stream_name_that_would_widen_a_grant_is_rejected(name: str) -> None:
    topic = Topic("a")
    for grant in (
        Grant("shop", Action.CONSUME, topic, group=name),
        Grant("shop", Action.CONSUME, topic, group=name, stream="S"),
        Grant("shop", Action.CONSUME, topic, group="d", stream=name),
        Grant("shop", Action.PUBLISH, topic, stream=name),
    ):
        with pytest.raises(ValueError, match=r"group|stream"):
            rules([grant])


def test_group_that_is_reserved_for_a_principal_is_rejected() -> None:
    with pytest.raises(ValueError, match="reserves; choose another group"):
        rules([Grant("shop", Action.CONSUME, Topic("a"), group=inbox_prefix("till"))])


@pytest.mark.parametrize("name", ["", "*", ">", "a b", "a\n", "{{name()}}", "a\u200b"])
def test_principal_name_that_would_widen_its_inbox_is_rejected(name: str) -> None:
    with pytest.raises(ValueError, match="principal"):
        rules([Grant(name, Action.PUBLISH, Topic("a"))])


@pytest.mark.parametrize("name", ["a.b", "a/b", "a\\b"])
def test_stream_and_durable_are_one_token(name: str) -> None:
    with pytest.raises(ValueError, match="a dot or a slash"):
        rules([Grant("shop", Action.CONSUME, Topic("a"), "d", name)])
    with pytest.raises(ValueError, match="a dot or a slash"):
        rules([Grant("shop", Action.CONSUME, Topic("a"), name, "S")])


REFUSED = {
    "topic '$SYS.a' begins with '$', which NATS reserves; choose another topic": Topic("$SYS.a"),
    "prefix '_R_.a' begins with '_', which NATS reserves; choose another prefix": Topic(
        "_R_.a.", prefix=True
    ),
    "topic 'a..b' has an empty token; choose another topic": Topic("a..b"),
    "prefix 'a..b' has an empty token; choose another prefix": Topic("a..b.", prefix=True),
    "topic 'a.>' contains '>', which would widen the grant; remove it": Topic("a.>"),
    "topic 'a b' contains a space or an invisible character; remove it": Topic("a b"),
    "the topic is empty; choose one": Topic(""),
}


@pytest.mark.parametrize(("message", "topic"), REFUSED.items(), ids=list(REFUSED))
def test_rejected_topic_is_reported_with_what_to_do(message: str, topic: Topic) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rules([Grant("shop", Action.PUBLISH, topic)])


def test_rejected_stream_is_reported_with_what_to_do() -> None:
    message = (
        "stream 'a.b' has a dot or a slash, which NATS does not allow there; choose another stream"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        rules([Grant("shop", Action.CONSUME, Topic("a"), "d", "a.b")])


def test_prefix_ends_at_a_token() -> None:
    with pytest.raises(ValueError, match="end it with a dot"):
        rules([Grant("shop", Action.PUBLISH, Topic("prod.ord", prefix=True))])


def test_stream_requires_a_durable() -> None:
    with pytest.raises(ValueError, match="durable consumer"):
        rules([Grant("shop", Action.CONSUME, Topic("a"), stream="S")])


@more(2)
@given(st.text(min_size=1))
@example("a" * 249)
def test_any_topic_name_is_used_literally_or_rejected(name: str) -> None:
    try:
        permitted = rules([Grant("shop", Action.CONSUME, Topic(name))])
    except ValueError:
        return
    assert permitted == {
        Rule("shop", "SUBJECT", "", subject, "SUB") for subject in (name, f"{name} _INBOX_shop")
    }
    assert not set("*>") & set(name)
    assert "{{" not in name
    assert all(unicodedata.category(character)[0] not in "CZ" for character in name)
    assert all(name.split("."))
