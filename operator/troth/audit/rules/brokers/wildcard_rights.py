"""Foreign principals with rights on every topic, or rights of every principal."""

from collections.abc import Iterator

from troth.audit.brokers.foreign_rights import actions_of, name_of, right_evidence, rights_in
from troth.audit.brokers.observed import object_of
from troth.audit.finding import Finding, Fix
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.reported import Severity


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for broker, right in rights_in(scene, namespace, wildcard=True):
        where = "topics of policies" if right.principal == "*" else "every topic"
        yield Finding(
            RULE.id,
            object_of(broker),
            f"{name_of(right)} may {actions_of(right)} on {where} by a wildcard, also on topics "
            "that policies will name; name the topics that it needs",
            (right_evidence(broker, right),),
            about=right.principal,
        )


def _fix(_: Scene, finding: Finding) -> Fix:
    whose = "every principal (*)" if finding.about == "*" else finding.about
    return Fix(
        steps=(
            f"Find out which topics the clients of {whose} use, and allow those by name.",
            f"Remove the rules with a wildcard of {whose} at the broker.",
            (
                "Give services in the cluster a ServiceIdentity, and name it in the TopicPolicy of "
                "each topic that they use."
            ),
            *(
                ()
                if finding.about == "*"
                else (
                    (
                        f"If {whose} administers the broker, list it under spec.administrators of "
                        f"MessageBroker {finding.subject.ref}."
                    ),
                )
            ),
        )
    )


RULE = Rule(
    id="TR802",
    name="WildcardRights",
    title="A rule at a message broker names every topic, or every principal.",
    severity=Severity.HIGH,
    reads=frozenset({"MessageBroker"}),
    find=_find,
    fix=_fix,
    sources=frozenset({"brokers", "brokers:Rights"}),
)
