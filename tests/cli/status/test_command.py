"""`troth status`: short, at most 100 columns wide, and also in JSON."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests import builders
from tests.broker_builders import orders
from tests.builders import DAY, HOUR, NOW, OWN, YEAR, Manifest, stamp
from tests.messaging import broker
from tests.webhook_builders import URL, endpoint, issued, outbound
from troth.cli.main import app
from troth.cli.output import WIDTH
from troth.cli.status.models import (
    broker_summary,
    domain_summary,
    identity_summary,
    policy_summary,
    rotation_summary,
)
from troth.cli.status.render import show
from troth.cli.status.report import Report
from troth.cli.status.track import length, track, until
from troth.cli.status.webhook_models import endpoint_summary
from troth.resources.faults import FaultyManifests
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.trust_domain.status import RotationPhase

OLD, NEW, GONE = "a" * 16, "b" * 16, "c" * 16


def ready(manifest: Manifest, reason: str = "InPlace", **status: object) -> Manifest:
    """Return a resource with a status."""
    truth = "True" if reason == "InPlace" else "False"
    condition = {"type": "Ready", "status": truth, "reason": reason, "message": f"mend {reason}"}
    return manifest | {"status": {"conditions": [condition], **status}}


def rotating() -> Manifest:
    return ready(
        builders.domain(),
        rotation={
            "phase": "Reissuing",
            "blockers": ["Secret shop/web has a certificate of the old"],
        },
        authorities=[
            {"fingerprint": NEW, "state": "Active", "notAfter": stamp(NOW + YEAR)},
            {"fingerprint": OLD, "state": "Retiring", "notAfter": stamp(NOW + 30 * DAY)},
        ],
    )


def holding(name: str, authority: str, reason: str = "InPlace") -> Manifest:
    certificate = {
        "fingerprint": "f" * 16,
        "serial": "1",
        "authority": authority,
        "notAfter": stamp(NOW + DAY),
        "renewAt": stamp(NOW + 16 * HOUR),
    }
    spiffe_id = f"spiffe://production.example/ns/shop/sa/{name}"
    return ready(builders.identity(name), reason, certificate=certificate, spiffeID=spiffe_id)


HELD = [holding("payments", NEW), holding("web", OLD), holding("lost", GONE), builders.identity()]
MONTHLY = ready(
    builders.rotation(name="monthly", every="720h"),
    phase="Overlapping",
    lastRotated=stamp(NOW - 3 * HOUR),
    nextRotation=stamp(NOW + 29 * DAY),
    blockers=["the rollout of Deployment payments"],
)


def report(*, complete: bool = True, identities: tuple[Manifest, ...] = ()) -> Report:
    return Report(
        trust_domains=(domain_summary(rotating(), HELD, complete=complete),),
        credential_rotations=(rotation_summary(MONTHLY),),
        service_identities=tuple(map(identity_summary, identities)),
        hidden=(),
    )


def shown(report: Report, *, single: bool = False) -> list[str]:
    output = io.StringIO()
    show(Console(file=output, width=WIDTH), report, NOW, single=single)
    return [line.rstrip() for line in output.getvalue().splitlines()]


def test_domain_shows_phase_authorities_and_blockers() -> None:
    assert shown(report())[:6] == [
        "TrustDomain production  ready",
        "  Idle → Preparing → Distributing → Activating → [Reissuing] → Retiring",
        f"  {NEW}  Active    expires 2028-02-29 (in 365d)  1 certificate",
        f"  {OLD}  Retiring  expires 2027-03-31 (in 30d)   1 certificate",
        "  1 certificate of a removed authority",
        "  waiting: Secret shop/web has a certificate of the old",
    ]


def test_token_keys_are_shown_and_their_track_during_a_rotation() -> None:
    keys = [{"fingerprint": NEW, "state": "Active"}, {"fingerprint": OLD, "state": "Retiring"}]
    rotation = {"phase": "Retiring", "blockers": ["tokens of the old one"]}
    for under_way, before in ((rotation, 1), ({"phase": "Idle"}, 0)):
        domain = rotating()
        domain["status"] |= {"tokenKeys": keys, "tokenRotation": under_way}
        summary = domain_summary(domain, HELD, complete=True)
        lines = shown(report().model_copy(update={"trust_domains": (summary,)}))[6:]
        assert lines[0].endswith("Activating → [Retiring]") is bool(before)
        assert lines[before : before + 2] == [
            f"  {NEW}  Active    token key",
            f"  {OLD}  Retiring  token key",
        ]
        assert (lines[before + 2] == "  waiting: tokens of the old one") is bool(before)


def test_certificates_are_not_counted_unless_all_identities_are_visible() -> None:
    lines = shown(report(complete=False))
    assert not [line for line in lines if "certificate" in line.split("waiting")[0]]


def test_rotation_shows_track_age_and_next_rotation() -> None:
    assert shown(report())[-4:] == [
        "CredentialRotation shop/monthly  ready",
        "  rotates ServiceIdentity payments, last rotated 3h ago, next rotation in 29d",
        "  Idle → Prepared → [Overlapping] → Retiring",
        "  waiting: the rollout of Deployment payments",
    ]


def test_many_identities_show_only_those_that_need_attention() -> None:
    many = tuple(holding(f"service-{number}", NEW) for number in range(500))
    lines = shown(report(identities=(*many, holding("web", OLD, "SharedIdentity"))))
    assert lines[-6:] == [
        "501 ServiceIdentities, 1 of them not ready",
        "",
        "ServiceIdentity shop/web  not ready: SharedIdentity",
        "  spiffe://production.example/ns/shop/sa/web",
        f"  certificate {'f' * 16} of {OLD}, renewal in 16h, expires in 24h",
        "  mend SharedIdentity",
    ]


def test_single_identity_is_shown_though_it_is_ready() -> None:
    lines = shown(report(identities=(holding("payments", NEW),)), single=True)
    assert lines[-3] == "ServiceIdentity shop/payments  ready"


def messages(*policies: Manifest, main: Manifest) -> Report:
    return Report(
        trust_domains=(),
        message_brokers=(broker_summary(main),),
        credential_rotations=(),
        service_identities=(),
        topic_policies=tuple(map(policy_summary, policies)),
        hidden=(),
    )


def test_broker_shows_own_and_foreign_grants() -> None:
    main = ready(broker(), principals=2, foreignGrants=3)
    assert shown(messages(main=main)) == [
        "MessageBroker messaging/main  ready",
        "  kafka, mode Enforce, 2 principals, 3 foreign rules",
    ]
    unseen = ready(broker(mode="Observe"), "SecretMissing")
    assert shown(messages(main=unseen)) == [
        "MessageBroker messaging/main  not ready: SecretMissing",
        "  kafka, mode Observe",
        "  mend SecretMissing",
    ]


def test_many_policies_show_only_those_that_need_attention() -> None:
    entry = {"identity": "shop/checkout", "action": "Publish"}
    grants = [entry | {"state": "InSync"}, entry | {"state": "Live"}]
    late = ready(orders("late", topic={"prefix": "prod.late."}), "AwaitingBroker", grants=grants)
    lines = shown(messages(ready(orders()), late, main=ready(broker())))
    assert lines[-5:] == [
        "2 TopicPolicies, 1 of them not ready",
        "",
        "TopicPolicy shop/late  not ready: AwaitingBroker",
        "  prod.late.* at messaging/main: 2 grants, 1 in sync",
        "  mend AwaitingBroker",
    ]


def test_policy_with_clients_without_the_guard_is_shown_though_it_is_ready() -> None:
    bare = ready(orders("bare"), grants=[])
    message = 'consumers without Troth\'s guard: shop/web (client named "\\x1b")'
    bare["status"]["conditions"].append(
        {
            "type": "EdgesValidated",
            "status": "False",
            "reason": "UnvalidatedConsumer",
            "message": message,
        }
    )
    lines = shown(messages(ready(orders()), bare, main=ready(broker())))
    assert lines[-5:] == [
        "2 TopicPolicies, ready",
        "",
        "TopicPolicy shop/bare  ready",
        "  prod.orders.v1 at messaging/main: 0 grants, 0 in sync",
        f"  {message}",
    ]


def webhooks(*endpoints: Manifest) -> Report:
    return Report(
        trust_domains=(),
        credential_rotations=(),
        service_identities=(),
        webhook_endpoints=tuple(map(endpoint_summary, endpoints)),
        hidden=(),
    )


KEYS = [
    {
        "id": "k1",
        "fingerprint": OLD,
        "state": "Retiring",
        "lastVerified": stamp(NOW - 3 * HOUR),
        "until": stamp(NOW + HOUR),
    },
    {"id": "k2", "fingerprint": NEW, "state": "Current"},
]


def test_webhook_shows_its_target_and_the_last_use_of_each_key() -> None:
    charges = ready(endpoint(), keys=KEYS, residualReplay="none", url=URL)
    assert shown(webhooks(charges), single=True) == [
        "WebhookEndpoint shop/stripe-charges  ready",
        "  StandardWebhooks, to port webhooks of shop/payments, workflow settle-charge",
        f"  {URL}",
        f"  k1  {OLD}  Retiring  last verified 3h ago, can be removed in 60m",
        f"  k2  {NEW}  Current   not used yet",
        "  residual replay: none",
    ]


def test_many_webhooks_show_only_those_that_need_attention() -> None:
    late = ready(issued("GitHub"), "SecretMissing", residualReplay="GitHub signs no time")
    lines = shown(webhooks(*(ready(endpoint(f"hook-{each}")) for each in range(500)), late))
    assert lines == [
        "501 WebhookEndpoints, 1 of them not ready",
        "",
        "WebhookEndpoint shop/stripe-charges  not ready: SecretMissing",
        "  GitHub, to port webhooks of shop/payments, workflow settle-charge",
        f"  {URL}",
        "  residual replay: GitHub signs no time",
        "  mend SecretMissing",
    ]


def unsigned(days: int, reason: str, status: str = "True") -> Manifest:
    """Return an endpoint that accepts unsigned deliveries for `days` more days, as judged."""
    taken = {"owner": "team git", "reason": "old", "expiresAt": stamp(NOW + days * DAY)}
    legacy = ready(endpoint("legacy", scheme="GitLabToken", acceptUnsigned=taken))
    judged = {"type": "UnsignedAccepted", "status": status, "reason": reason}
    legacy["status"]["conditions"].append(judged)
    return legacy


@pytest.mark.parametrize(
    ("legacy", "line"),
    [
        (
            unsigned(30, "UntilItsEnd"),
            "accepts unsigned deliveries until 2027-03-31 (in 30d), owner team git",
        ),
        (
            unsigned(-2, "UnsignedExpired", "False"),
            "accepted unsigned deliveries until 2027-02-27 (2d ago); now rejects everything",
        ),
        # not reconciled since it expired
        (
            unsigned(-2, "UnsignedEnding"),
            "accepted unsigned deliveries until 2027-02-27 (2d ago); now rejects everything",
        ),
        (
            unsigned(200, "UnsignedTooLong", "False"),
            "does not accept unsigned deliveries as declared: UnsignedTooLong",
        ),
    ],
)
def test_endpoint_with_unsigned_deliveries_is_shown_among_many(legacy: Manifest, line: str) -> None:
    lines = shown(webhooks(*(ready(endpoint(f"hook-{each}")) for each in range(5)), legacy))
    assert lines[:3] == ["6 WebhookEndpoints, ready", "", "WebhookEndpoint shop/legacy  ready"]
    assert f"  {line}" in lines
    (told,) = webhooks(legacy).manifest()["webhookEndpoints"]
    assert told["excepted"]["owner"] == "team git"


def test_ready_identity_with_gateway_only_trust_is_shown() -> None:
    trust = {
        "gateway": {"name": "edge"},
        "owner": "team git",
        "reason": "old",
        "expiresAt": stamp(NOW + 30 * DAY),
    }
    old = ready(builders.identity("old", authentication={"gatewayOnly": trust}))
    old["status"]["conditions"].append(
        {"type": "GatewayTrusted", "status": "True", "reason": "UntilItsEnd"}
    )
    report = Report(
        trust_domains=(),
        credential_rotations=(),
        service_identities=(identity_summary(old),),
        hidden=(),
    )
    assert shown(report) == [
        "1 ServiceIdentity, ready",
        "",
        "ServiceIdentity shop/old  ready",
        "  accepts what its gateway has authenticated until 2027-03-31 (in 30d), owner team git",
    ]


def test_text_of_a_resource_cannot_control_the_terminal() -> None:
    evil = "\x1b[2J\x9b31m\u202e\n"
    trust = builders.gateway_only("checkout", NOW + DAY)
    trust["gatewayOnly"]["owner"] = f"team{evil}"
    legacy = holding("legacy", NEW, evil) | {"spec": {"authentication": trust}}
    legacy["status"]["conditions"].append({"type": "GatewayTrusted", "status": "True"})
    found = report(identities=(legacy,))
    odd = found.trust_domains[0].model_copy(update={"blockers": (evil,)})
    webhook = endpoint_summary(outbound()).model_copy(update={"url": evil, "message": evil})
    more = {"trust_domains": (odd,), "webhook_endpoints": (webhook,)}
    lines = shown(found.model_copy(update=more), single=True)
    assert r"team\x1b[2J\x9b31m\u202e\n" in "".join(lines)
    assert "".join(lines).isprintable()


def test_outbound_webhook_has_no_target() -> None:
    assert shown(webhooks(ready(outbound(), "Unsupported")), single=True) == [
        "WebhookEndpoint shop/partner  not ready: Unsupported",
        "  StandardWebhooks, outbound",
        "  https://partner.example/hooks",
        "  mend Unsupported",
    ]


def test_longest_webhook_fits_and_its_key_ids_are_complete() -> None:
    name = "k" * 253
    key = {"id": name, "fingerprint": NEW, "state": "Current", "lastVerified": stamp(NOW)}
    charges = ready(endpoint("e" * 253), keys=[key], residualReplay="a very long sentence " * 20)
    lines = shown(webhooks(charges), single=True)
    assert max(map(len, lines)) <= WIDTH
    assert "".join(lines).count("k") >= len(name)
    assert any(NEW in line and "Current" in line for line in lines)


def test_json_of_a_webhook_has_the_same_fields() -> None:
    charges = ready(endpoint(), keys=KEYS, residualReplay="none")
    (told,) = webhooks(charges).manifest()["webhookEndpoints"]
    assert told == {
        "namespace": "shop",
        "name": "stripe-charges",
        "ready": "True",
        "reason": "InPlace",
        "message": "mend InPlace",
        "scheme": "StandardWebhooks",
        "url": URL,
        "target": "shop/payments",
        "port": "webhooks",
        "workflow": "settle-charge",
        "keys": KEYS,
        "residualReplay": "none",
    }


def test_no_line_is_wider_than_a_hundred_columns() -> None:
    sentence = "a very long sentence that says what must be done about it " * 6
    blocked = ready(builders.rotation(), blockers=[sentence], phase="Prepared")
    lines = shown(
        Report(
            trust_domains=(),
            credential_rotations=(rotation_summary(blocked),),
            service_identities=(),
            hidden=(),
        )
    )
    assert max(map(len, lines)) <= WIDTH


def test_no_resources_is_reported() -> None:
    empty = Report(trust_domains=(), credential_rotations=(), service_identities=(), hidden=())
    assert shown(empty) == ["no resources found"]


def test_resource_without_a_status_is_unknown() -> None:
    summary = rotation_summary(builders.rotation("TrustDomain", "production", OWN))
    assert (summary.ready, summary.reason, summary.phase) == ("Unknown", "Unvisited", "Idle")
    assert domain_summary(builders.domain(), [], complete=True).authorities == ()


def test_unknown_field_in_spec_or_status_is_ignored() -> None:
    newer = ready(builders.identity() | {"spec": {"newField": 1}}, colour="blue")
    assert identity_summary(newer).ready == "True"


def test_json_has_the_same_fields_in_camel_case() -> None:
    (domain,) = report().manifest()["trustDomains"]
    assert domain["phase"] == "Reissuing"
    assert domain["authorities"][1] == {
        "fingerprint": OLD,
        "state": "Retiring",
        "notAfter": stamp(NOW + 30 * DAY),
        "renewed": True,
        "certificates": 1,
    }
    assert domain["others"] == 1
    (rotation,) = report().manifest()["credentialRotations"]
    assert rotation["targetName"] == "payments"
    assert rotation["nextRotation"] == stamp(NOW + 29 * DAY)


@pytest.mark.parametrize("phase", list(CredentialPhase))
def test_track_marks_exactly_the_present_phase(phase: CredentialPhase) -> None:
    steps = track(CredentialPhase, phase.value).plain.split(" → ")
    assert [step.strip("[]") for step in steps] == [each.value for each in CredentialPhase]
    assert [step for step in steps if step.startswith("[")] == [f"[{phase.value}]"]


def test_longest_track_fits() -> None:
    assert len(track(RotationPhase, "Idle").plain) < WIDTH - 2


@pytest.mark.parametrize(
    ("span", "word"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(minutes=119), "119m"),
        (timedelta(hours=47), "47h"),
        (timedelta(days=2), "2d"),
    ],
)
def test_duration_is_shown_in_its_largest_unit(span: timedelta, word: str) -> None:
    assert length(span) == word


def test_time_that_has_come_is_now() -> None:
    assert until(NOW, NOW) == "now"
    assert until(NOW + HOUR, NOW) == "in 60m"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a valid kubeconfig"),
        ("- a", "is not a valid kubeconfig"),
        ("a: [", "while parsing a flow node"),
        ("a: b", "Expected key current-context"),
        (None, "no such file; name a kubeconfig file with --kubeconfig"),
    ],
)
@pytest.mark.parametrize("command", ["status", "rotate td/production"])
def test_invalid_kubeconfig_is_reported(
    tmp_path: Path, command: str, text: str | None, sentence: str
) -> None:
    file = tmp_path / "kubeconfig"
    if text is not None:
        file.write_text(text)
    result = CliRunner().invoke(app, [*command.split(), "--kubeconfig", str(file)])
    assert isinstance(result.exception, FaultyManifests)
    (fault,) = result.exception.faults
    assert str(fault).startswith(f"{file}: ")
    assert sentence in str(fault)
