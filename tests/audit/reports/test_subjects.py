"""References to subjects: their API versions are those that Troth reads."""

from troth.audit.registry import RULES
from troth.audit.reports.results import API_VERSIONS
from troth.cluster.resources import AUDITED, RESOURCES


def test_every_kind_that_a_rule_reads_has_its_api_version() -> None:
    assert {kind for rule in RULES for kind in rule.reads} <= API_VERSIONS.keys()


def test_api_versions_are_those_that_troth_reads() -> None:
    read = {kind: each.group_version for kind, each in {**RESOURCES, **AUDITED}.items()}
    both = API_VERSIONS.keys() & read.keys()
    assert len(both) > 20
    assert {kind: API_VERSIONS[kind] for kind in both} == {kind: read[kind] for kind in both}
