"""Effects of time: renewals, and the expiry of authorities and of trust in a gateway.

The tests move the operator's clock; none waits for real time to pass.
"""

import base64
from datetime import UTC, datetime, timedelta

from tests import builders
from tests.cluster.person import Manifest, condition, version
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, leaf_of, opened
from tests.cluster.test_authority import ROOT, given
from tests.pki.builders import NOW, by_hand
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref

MOMENT = timedelta(seconds=1)


def time_of(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def renew_at(identity: Manifest) -> datetime:
    """Return the second in which a certificate's renewal is due."""
    return time_of(identity["status"]["certificate"]["renewAt"])


async def test_leaf_is_renewed_with_a_new_key_when_due_and_not_before(
    stage: Stage,
) -> None:
    await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    await stage.settled()
    ready = await stage.person.the(IDENTITY, payments)
    before, due = await stage.secret(payments), renew_at(ready)
    leaf = leaf_of(before)
    lived = (due - stage.clock.now()) / (leaf.not_valid_after_utc - stage.clock.now())
    assert 0.59 < lived < 0.67

    stage.requests.clear()
    await stage.clock.move_to(min(due, renew_at(await stage.person.the(IDENTITY, web))) - MOMENT)
    await stage.look_again()
    assert stage.requests.made == []

    await stage.clock.move_to(due + MOMENT)
    after = await stage.person.sees(
        "Secret", secret_ref(payments), lambda seen: version(seen) != version(before)
    )
    await stage.settled()
    renewed = await stage.person.ready(IDENTITY, payments)
    assert after["data"]["tls.key"] != before["data"]["tls.key"]
    assert after["data"]["ca.crt"] == before["data"]["ca.crt"]
    assert leaf_of(after).public_key() != leaf.public_key()
    assert leaf_of(after).serial_number != leaf.serial_number
    assert renew_at(renewed) > due
    assert ("Reissued", "payments") in await stage.person.events(stage.shop)


async def test_leaf_never_outlives_its_authority_whose_expiry_is_reported(stage: Stage) -> None:
    left = timedelta(hours=2) + (stage.clock.now() - NOW)  # certificates start at import
    ending = by_hand("ending intermediate", ROOT, path_length=0, lifetime=left)
    await stage.person.put(given(stage, ending))
    domain = await stage.domain(
        authority={"secretRef": {"name": "corporate"}}, certificates={"lifetime": "90m"}
    )
    await stage.run()
    payments = await stage.identity("payments")
    ready = await stage.person.ready(IDENTITY, payments)
    authority = time_of(
        (await stage.person.ready(DOMAIN, domain))["status"]["authorities"][0]["notAfter"]
    )
    first = await stage.secret(payments)
    assert leaf_of(first).not_valid_after_utc < authority

    await stage.clock.move_to(renew_at(ready) + MOMENT)
    last = await stage.person.sees(
        "Secret", secret_ref(payments), lambda seen: version(seen) != version(first)
    )
    assert leaf_of(last).not_valid_after_utc == authority

    stage.requests.clear()
    await stage.clock.move_to(authority - timedelta(minutes=5))  # past two thirds of its lifetime
    await stage.look_again()
    assert version(await stage.secret(payments)) == version(last), "nothing longer can be had"

    await stage.clock.move_to(authority)
    said = await stage.person.hears(DOMAIN, domain, "AuthorityReady", "AuthorityExpired", "False")
    assert "has expired and issues nothing" in said
    await stage.person.hears(IDENTITY, payments, "Ready", "AuthorityNotReady", "False")
    await stage.settled()
    assert version(await stage.secret(payments)) == version(last)


async def gateway_trusted(stage: Stage) -> tuple[datetime, Ref, Ref]:
    """Declare gateway-only trust for 20 days; return its end, the callee and the gateway."""
    ends = (stage.clock.now() + timedelta(days=20)).replace(microsecond=0)
    await stage.domain()
    await stage.run()
    legacy = await stage.identity(
        "legacy",
        ports=["https"],
        accepts=[builders.accept("gateway")],
        authentication=builders.gateway_only("gateway", ends),
    )
    gateway = await stage.identity("gateway", calls=[builders.call("legacy")])
    return ends, legacy, gateway


async def test_trust_in_a_gateway_warns_before_it_expires_and_then_fails_closed(
    stage: Stage,
) -> None:
    ends, legacy, gateway = await gateway_trusted(stage)
    await stage.person.hears(IDENTITY, legacy, "GatewayTrusted", "UntilItsEnd", "True")
    await stage.person.hears(IDENTITY, legacy, "PeersAgree", "AllLive", "True")
    await stage.person.ready(IDENTITY, gateway)
    await stage.settled()
    assert opened(await stage.policy(legacy), "ingress") == [8443]
    assert opened(await stage.policy(gateway), "egress") == [8443]
    assert await stage.person.get("Secret", secret_ref(legacy)) is None

    await stage.clock.move_to(ends - timedelta(days=14) - MOMENT)
    await stage.look_again()
    assert (
        condition(await stage.person.the(IDENTITY, legacy), "GatewayTrusted")["reason"]
        == "UntilItsEnd"
    )

    await stage.clock.move_to(ends - timedelta(days=14))
    said = await stage.person.hears(
        IDENTITY, legacy, "GatewayTrusted", "GatewayTrustEnding", "True"
    )
    assert "owner team payments" in said
    await stage.settled()
    assert ("GatewayTrustEnding", "legacy") in await stage.person.events(stage.shop)
    assert opened(await stage.policy(legacy), "ingress") == [8443]

    await stage.clock.move_to(ends - MOMENT)
    await stage.look_again()
    assert opened(await stage.policy(legacy), "ingress") == [8443]

    await stage.clock.move_to(ends)
    await stage.person.sees(
        "NetworkPolicy", policy_ref(legacy), lambda seen: not opened(seen, "ingress")
    )
    await stage.person.sees(
        "NetworkPolicy", policy_ref(gateway), lambda seen: not opened(seen, "egress")
    )
    said = await stage.person.hears(IDENTITY, legacy, "Ready", "GatewayTrustExpired", "False")
    assert "use mtls or token, or agree on a new expiresAt with its owner" in said
    await stage.person.hears(IDENTITY, gateway, "PeersAgree", "GatewayTrustExpired", "False")


async def test_trust_in_a_gateway_expires_although_the_operator_was_down(
    stage: Stage,
) -> None:
    ends, legacy, _ = await gateway_trusted(stage)
    await stage.person.sees(
        "NetworkPolicy", policy_ref(legacy), lambda seen: bool(opened(seen, "ingress"))
    )
    await stage.operator.stop()
    await stage.clock.move_to(ends + timedelta(days=1))
    await stage.run()
    await stage.person.sees(
        "NetworkPolicy", policy_ref(legacy), lambda seen: not opened(seen, "ingress")
    )


async def test_shorter_lifetime_applies_to_certificates_issued_before(stage: Stage) -> None:
    await stage.domain()
    await stage.run()
    payments = await stage.identity("payments")
    await stage.person.ready(IDENTITY, payments)
    before = await stage.secret(payments)
    await stage.domain(certificates={"lifetime": "1h"})
    after = await stage.person.sees(
        "Secret", secret_ref(payments), lambda seen: version(seen) != version(before)
    )
    leaf = leaf_of(after)
    assert leaf.not_valid_after_utc <= stage.clock.now() + timedelta(hours=1)
    assert base64.b64decode(after["data"]["tls.key"]) != base64.b64decode(before["data"]["tls.key"])
