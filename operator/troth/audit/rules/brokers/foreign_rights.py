"""Foreign principals with rights on topics of policies."""

from collections.abc import Iterator

from troth.audit.brokers.foreign_rights import actions_of, name_of, right_evidence, rights_in
from troth.audit.brokers.observed import object_of
from troth.audit.finding import Finding, Fix
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.reported import Severity


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for broker, right in rights_in(scene, namespace, wildcard=False):
        yield Finding(
            RULE.id,
            object_of(broker),
            f"{name_of(right)} may {actions_of(right)} on topics of policies without a grant of "
            "Troth's; remove this access at the broker",
            (right_evidence(broker, right),),
            about=right.principal,
        )


def _fix(_: Scene, finding: Finding) -> Fix:
    return Fix(
        steps=(
            f"If {finding.about} is a service in the cluster, give it a ServiceIdentity.",
            "Name that identity in the TopicPolicy of each topic that the evidence lists.",
            f"Remove the rules of {finding.about} on these topics at the broker.",
            (
                f"If {finding.about} administers the broker, list it under spec.administrators of "
                f"MessageBroker {finding.subject.ref}."
            ),
        )
    )


RULE = Rule(
    id="TR801",
    name="ForeignRights",
    title="A principal without a grant may publish or consume on a topic of a policy.",
    severity=Severity.HIGH,
    reads=frozenset({"MessageBroker"}),
    find=_find,
    fix=_fix,
    sources=frozenset({"brokers", "brokers:Rights"}),
)
