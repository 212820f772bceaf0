"""What a FindingException covers, until when, and what is rejected."""

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import DAY, NOW, OWN, finding_exception, stamp
from tests.refusals import faults
from tests.resources.test_fields import rules_in
from troth.resources.findings.exception import EXCEPTION_LIMIT, FindingException
from troth.resources.kinds import EVERY_KIND_BY_NAME
from troth.resources.references import Ref
from troth.resources.schema.crd import custom_resource_definition


def parsed(**spec: Any) -> FindingException:
    return FindingException.parse(finding_exception(**spec))


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"rules": ["701"]}, "spec.rules[0]", "write the ID of a rule"),
    ({"rules": ["TR506"]}, "spec.rules[0]", "nobody can except"),
    ({"rules": ["TR701", "TR701"]}, "spec.rules", "listed twice"),
    ({"rules": []}, "spec.rules", ""),
    ({"rules": None}, "spec.rules", ""),
    ({"objects": []}, "spec.objects", ""),
    ({"objects": [{"kind": "deployment", "name": "web"}]}, "spec.objects[0].kind", "CamelCase"),
    ({"objects": [{"kind": "Deployment"}]}, "spec.objects[0].name", ""),
    ({"owner": ""}, "spec.owner", ""),
    ({"owner": "7"}, "spec.owner", "write who answers for it"),
    ({"reason": "..."}, "spec.reason", "write plain words"),
    ({"expiresAt": None}, "spec.expiresAt", ""),
    ({"expiresAt": "soon"}, "spec.expiresAt", "RFC 3339"),
    ({"until": "x"}, "spec.until", "unknown field"),
]


@pytest.mark.parametrize(("spec", "field", "words"), WRONG)
def test_invalid_exception_is_rejected(spec: dict[str, Any], field: str, words: str) -> None:
    (found, *_) = faults(finding_exception(**spec))
    assert found.field == field
    assert words in found.sentence


def test_every_rule_has_its_case_here() -> None:
    told = {each.sentence for spec, *_ in WRONG for each in faults(finding_exception(**spec))}
    rules = rules_in(custom_resource_definition(EVERY_KIND_BY_NAME["FindingException"]))
    assert rules - told == set()


def test_valid_exception_is_accepted_and_survives_a_round_trip() -> None:
    once = parsed(objects=[{"kind": "Deployment", "name": "web"}])
    assert FindingException.parse(once.manifest()) == once
    assert once.manifest()["spec"]["rules"] == ["TR701"]


def test_exception_may_have_a_long_name() -> None:
    """Troth derives no name from it."""
    assert not faults(finding_exception("a" * 253))


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        (NOW - DAY, "ExceptionExpired"),
        (NOW, "ExceptionExpired"),
        (NOW + timedelta(seconds=1), None),
        (NOW + EXCEPTION_LIMIT, None),
        (NOW + EXCEPTION_LIMIT + timedelta(seconds=1), "ExceptionTooLong"),
    ],
)
def test_exception_has_an_effect_until_its_end_and_not_for_ever(end: Any, fault: str) -> None:
    assert parsed(expiresAt=stamp(end)).fault(NOW) == fault


def covers(exception: FindingException, kind: str, namespace: str, name: str) -> bool:
    return exception.covers(kind, Ref(namespace, name), OWN)


def test_exception_covers_its_own_namespace_alone() -> None:
    assert covers(parsed(), "Deployment", "shop", "web")
    assert not covers(parsed(), "Deployment", "bank", "web")
    own = FindingException.parse(finding_exception(namespace=OWN))
    assert not covers(own, "Deployment", "shop", "web")


def test_objects_are_compared_by_kind_and_name() -> None:
    exception = parsed(objects=[{"kind": "Deployment", "name": "web"}])
    assert covers(exception, "Deployment", "shop", "web")
    assert not covers(exception, "StatefulSet", "shop", "web")
    assert not covers(exception, "Deployment", "shop", "api")


def test_cluster_scoped_object_is_covered_by_name_from_troths_namespace_alone() -> None:
    named: dict[str, Any] = {"objects": [{"kind": "TrustDomain", "name": "production"}]}
    own = FindingException.parse(finding_exception(namespace=OWN, **named))
    assert covers(own, "TrustDomain", "", "production")
    assert not covers(parsed(**named), "TrustDomain", "", "production")
    everything = FindingException.parse(finding_exception(namespace=OWN))
    assert not covers(everything, "TrustDomain", "", "production")
