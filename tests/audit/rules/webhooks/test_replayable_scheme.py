"""TR202: the scheme in the spec decides, and the fix removes the finding."""

import pytest

from tests import webhook_builders
from tests.audit.rules.scenes import findings, fixed
from tests.builders import Manifest
from troth.audit.rules.webhooks.replayable_scheme import LONGEST_WINDOW, RULE
from troth.resources.schema.scalars import format_duration
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, SchemeName

HMAC: Manifest = {"hmac": {"header": "X-Signature"}}
MORE: dict[SchemeName, Manifest] = {
    SchemeName.HMAC: HMAC,
    SchemeName.SNS: {"sns": {"topicARNs": [webhook_builders.TOPIC]}},
    SchemeName.GITLAB_TOKEN: {"acceptUnsigned": webhook_builders.UNSIGNED},
}
TIMELESS = {
    SchemeName.GITHUB,
    SchemeName.GITLAB_TOKEN,
    SchemeName.BITBUCKET,
    SchemeName.SHOPIFY,
    SchemeName.TWILIO,
    SchemeName.SQUARE,
    SchemeName.HMAC,
}


def endpoint(scheme: SchemeName, **more: object) -> Manifest:
    inbound = {**MORE.get(scheme, {}), **more}
    make = webhook_builders.issued if scheme in ISSUED_BY_SENDER else webhook_builders.endpoint
    return make(scheme=scheme.value, **inbound)


@pytest.mark.parametrize("scheme", SchemeName)
def test_schemes_without_a_timestamp_are_found(scheme: SchemeName) -> None:
    assert bool(findings(RULE, [endpoint(scheme)])) is (scheme in TIMELESS)


@pytest.mark.parametrize("scheme", sorted(TIMELESS))
def test_fix_removes_the_finding(scheme: SchemeName) -> None:
    _, after = fixed(RULE, [endpoint(scheme)])
    assert not findings(RULE, after)


def test_window_is_the_longest_that_an_endpoint_may_have() -> None:
    too_long = format_duration(LONGEST_WINDOW * 2)
    assert not findings(RULE, [endpoint(SchemeName.GITHUB, replayWindow=too_long)]), "it is invalid"
    longest = format_duration(LONGEST_WINDOW)
    assert not findings(RULE, [endpoint(SchemeName.GITHUB, replayWindow=longest)])
    assert findings(RULE, [endpoint(SchemeName.GITHUB, replayWindow="719h")])
    assert findings(RULE, [endpoint(SchemeName.GITLAB_TOKEN, replayWindow=longest)])


def test_status_of_an_earlier_scheme_is_no_evidence() -> None:
    changed = endpoint(SchemeName.STRIPE)
    changed["status"] = {"residualReplay": "GitHub signs no timestamp"}
    assert not findings(RULE, [changed])


def test_status_is_shown_as_evidence() -> None:
    seen = endpoint(SchemeName.GITHUB)
    seen["status"] = {"residualReplay": "GitHub signs no timestamp"}
    (found,) = findings(RULE, [seen])
    assert [each.field for each in found.evidence] == [
        "spec.inbound.scheme",
        "status.residualReplay",
    ]


def test_outbound_endpoint_is_not_found() -> None:
    assert not findings(RULE, [webhook_builders.outbound()])
