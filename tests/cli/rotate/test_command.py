"""`troth rotate`: the request, the conditions under which it is done, and its output."""

import io
from datetime import datetime, timedelta
from typing import cast

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tests.builders import NOW, OWN, Manifest, rotation, stamp
from troth.cli.inputs.access import PersonalServer
from troth.cli.inputs.targets import parse_target
from troth.cli.main import app
from troth.cli.rotate.progress import Lines, Moving, Passage
from troth.cli.rotate.rotation_request import drop_root, rotate_now, target_of
from troth.cli.rotate.wait import End, Followed, Sight, sight
from troth.cli.rotate.workflow import Arguments, _compromised
from troth.resources.faults import FaultyManifests
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation

SECOND = timedelta(seconds=1)
PAYMENTS = target_of("ServiceIdentity", "payments")
PRODUCTION = target_of("TrustDomain", "production")
ROOT = "0123456789abcdef"


# Targets


@pytest.mark.parametrize(
    "word",
    [
        *("sid", "serviceidentity", "serviceidentities", "ServiceIdentity", "SID"),
        "serviceidentity.troth.dev",
    ],
)
def test_kind_is_accepted_in_every_form_of_kubectl(word: str) -> None:
    named = parse_target(f"{word}/payments")
    assert (named.kind.name, named.name) == ("ServiceIdentity", "payments")


@pytest.mark.parametrize("text", ["payments", "sid/", "/payments", "pod/payments", ""])
def test_unknown_resource_is_rejected_with_the_list_of_kinds(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"such as sid/payments; .*TrustDomain \(td\)"):
        parse_target(text)


def test_resource_without_a_credential_is_rejected() -> None:
    with pytest.raises(FaultyManifests, match="name a ServiceIdentity or TrustDomain"):
        target_of("CredentialRotation", "monthly")


def test_watch_without_a_request_is_rejected() -> None:
    result = CliRunner().invoke(app, ["rotate", "sid/payments", "--watch"])
    assert result.exit_code == 2
    assert "add --now" in result.output


# Requests


def requested_manifest(*rotations: Manifest, name: str = "", now: datetime = NOW) -> Manifest:
    return rotate_now(PAYMENTS, "shop", rotations, name, now).manifest()


def test_target_without_a_rotation_gets_its_own() -> None:
    manifest = requested_manifest(rotation(target="web"))
    assert manifest == rotation(requestedAt=stamp(NOW + SECOND))
    CredentialRotation.parse(manifest)


def test_only_rotation_of_the_target_is_used_with_just_the_request() -> None:
    manifest = requested_manifest(rotation(name="monthly", every="720h"), rotation(target="web"))
    assert manifest == rotation(name="monthly", requestedAt=stamp(NOW + SECOND))


def test_default_name_is_used_among_several_rotations() -> None:
    several = rotation(name="monthly"), rotation(name="weekly")
    assert requested_manifest(*several)["metadata"]["name"] == "payments-rotation"
    assert requested_manifest(*several, rotation())["metadata"]["name"] == "payments-rotation"
    assert requested_manifest(*several, name="weekly")["metadata"]["name"] == "weekly"
    assert requested_manifest(*several, name="new")["metadata"]["name"] == "new"


def test_named_rotation_of_another_target_is_rejected() -> None:
    with pytest.raises(FaultyManifests, match="rotates ServiceIdentity web; choose another"):
        requested_manifest(rotation(target="web", name="weekly"), name="weekly")


def test_committed_manifest_has_every_existing_field() -> None:
    monthly = rotation(name="monthly", every="720h")
    committed = rotate_now(PAYMENTS, "shop", [monthly], "", NOW).committed()
    assert committed == rotation(name="monthly", every="720h", requestedAt=stamp(NOW + SECOND))


@pytest.mark.parametrize(
    ("now", "last", "moment"),
    [
        (NOW, None, NOW + SECOND),
        (NOW + timedelta(milliseconds=999), None, NOW + SECOND),
        (NOW + timedelta(milliseconds=999), NOW, NOW + SECOND),
        # The clock may be behind the operator's.
        (NOW, NOW, NOW + SECOND),
        (NOW, NOW + SECOND, NOW + 2 * SECOND),
        (NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=1) + SECOND),
    ],
)
def test_request_is_a_whole_second_later_than_the_last_rotation(
    now: datetime, last: datetime | None, moment: datetime
) -> None:
    status = {"lastRotated": stamp(last)} if last else {}
    manifest = requested_manifest({**rotation(), "status": status}, now=now)
    assert manifest["spec"]["requestedAt"] == stamp(moment)


def test_longest_name_leaves_room_for_the_suffix() -> None:
    long = target_of("ServiceIdentity", "a" * 62 + "b")
    request = rotate_now(long, "shop", [], "", NOW)
    assert len(request.ref.name) == 63
    CredentialRotation.parse(request.manifest())


def test_compromised_root_gets_a_rotation_of_its_own() -> None:
    yearly = rotation("TrustDomain", "production", OWN, "yearly", every="8760h")
    manifest = drop_root(PRODUCTION, OWN, [yearly], "", ROOT).manifest()
    name = "production-compromised-01234567"
    assert manifest == rotation("TrustDomain", "production", OWN, name, compromised=ROOT)
    CredentialRotation.parse(manifest)


def test_record_of_a_compromised_root_is_not_used_for_other_requests() -> None:
    record = rotation("TrustDomain", "production", OWN, "record", compromised=ROOT)
    request = rotate_now(PRODUCTION, OWN, [record], "", NOW)
    assert request.ref == Ref(OWN, "production-rotation")
    with pytest.raises(FaultyManifests, match="is the record of a compromised root or key"):
        rotate_now(PRODUCTION, OWN, [record], "record", NOW)


def test_record_of_a_compromised_root_does_not_replace_another() -> None:
    record = rotation("TrustDomain", "production", OWN, "record", compromised=ROOT)
    with pytest.raises(FaultyManifests, match="is the record of a compromised root or key"):
        drop_root(PRODUCTION, OWN, [record], "record", "f" * 16)
    assert drop_root(PRODUCTION, OWN, [record], "record", ROOT).manifest() == record


def test_existing_rotation_for_another_purpose_is_left_alone() -> None:
    """An apply replaces the fields that the same user applied before, so a record would be lost."""
    name = "production-rotation"
    record = rotation("TrustDomain", "production", OWN, name, compromised=ROOT)
    with pytest.raises(
        FaultyManifests, match="is the record of a compromised root or key; choose another --name"
    ):
        rotate_now(PRODUCTION, OWN, [record], "", NOW)
    namesakes = rotation("ServiceIdentity", "production", OWN, name)
    with pytest.raises(FaultyManifests, match="rotates ServiceIdentity production; choose another"):
        rotate_now(PRODUCTION, OWN, [namesakes], "", NOW)
    assert rotate_now(PRODUCTION, OWN, [namesakes], "other", NOW).ref == Ref(OWN, "other")


# End


FOLLOWED = Followed(Ref("shop", "payments-rotation"), 2, PAYMENTS, Ref("shop", "payments"), NOW)


def rotation_with_status(
    phase: str = "Idle",
    made: datetime | None = None,
    reason: str = "InPlace",
    generation: int = 2,
    **spec: str,
) -> Manifest:
    """Return a rotation with a status."""
    truth = str(reason == "InPlace")
    status: Manifest = {"phase": phase, "observedGeneration": generation, "blockers": []}
    status |= {"lastRotated": stamp(made)} if made else {}
    status["conditions"] = conditions(Ready=truth, Stalled=str(reason != "InPlace"), reason=reason)
    return rotation(requestedAt=spec.get("requestedAt", stamp(NOW))) | {"status": status}


def conditions(reason: str, **truths: str) -> list[Manifest]:
    return [
        {"type": type_, "status": status, "reason": reason, "message": f"because of {reason}"}
        for type_, status in truths.items()
    ]


def test_request_is_done_when_the_new_credential_is_in_use_and_idle() -> None:
    assert sight(FOLLOWED, rotation_with_status(made=NOW), None).end is End.DONE
    assert sight(FOLLOWED, rotation_with_status(made=NOW - SECOND), None).end is None
    assert sight(FOLLOWED, rotation_with_status(made=None), None).end is None
    assert sight(FOLLOWED, rotation_with_status("Overlapping", made=NOW), None).end is None


def test_status_from_before_the_request_is_ignored() -> None:
    before = sight(
        FOLLOWED, rotation_with_status(made=NOW, reason="TargetMissing", generation=1), None
    )
    assert (before.seen, before.end) == (False, None)


def test_stalled_rotation_ends_the_wait() -> None:
    seen = sight(FOLLOWED, rotation_with_status(reason="TargetMissing"), None)
    assert (seen.end, seen.sentence) == (End.STALLED, "because of TargetMissing")


@pytest.mark.parametrize("reason", ["OverlapTooLong", "TimeZoneUnknown", "WindowNeverOpens"])
def test_fault_of_the_schedule_does_not_end_the_wait(reason: str) -> None:
    assert sight(FOLLOWED, rotation_with_status(reason=reason), None).end is None
    assert sight(FOLLOWED, rotation_with_status(reason=reason, made=NOW), None).end is End.DONE


def target(certificate: str, stalled: str) -> Manifest:
    told = conditions("SharedIdentity", CertificateIssued=certificate, Stalled=stalled)
    return {"kind": "ServiceIdentity", "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("certificate", "stalled", "end"),
    [("False", "True", End.STALLED), ("False", "False", None), ("True", "True", None)],
)
def test_stalled_target_ends_the_wait(certificate: str, stalled: str, end: End | None) -> None:
    assert sight(FOLLOWED, rotation_with_status(), target(certificate, stalled)).end is end
    assert (
        sight(FOLLOWED, rotation_with_status(made=NOW), target(certificate, stalled)).end
        is End.DONE
    )


def test_changed_or_deleted_request_ends_the_wait() -> None:
    earlier = rotation_with_status(requestedAt=stamp(NOW - SECOND))
    assert "was changed and no longer requests this" in sight(FOLLOWED, earlier, None).sentence
    later = rotation_with_status(requestedAt=stamp(NOW + SECOND))
    assert sight(FOLLOWED, later, None).end is None
    assert "was deleted" in sight(FOLLOWED, None, None).sentence


def test_compromised_root_is_done_when_unlisted_and_no_leaf_is_pending() -> None:
    asked = Followed(Ref(OWN, "emergency"), 1, PRODUCTION, Ref("", "production"), compromised=ROOT)
    record = rotation("TrustDomain", "production", OWN, compromised=ROOT)
    status = {"phase": "Idle", "observedGeneration": 1}

    def end(listed: str, phase: str) -> End | None:
        authorities = [{"fingerprint": listed}] if listed else []
        domain = {"rotation": {"phase": phase}, "authorities": authorities}
        seen = {"kind": "TrustDomain", "status": domain}
        return sight(asked, {**record, "status": status}, seen).end

    assert end("f" * 16, "Idle") is End.DONE
    assert end(ROOT, "Idle") is None
    assert end("f" * 16, "Reissuing") is None
    assert end("", "Idle") is None


def test_compromised_token_key_is_done_when_it_is_unlisted() -> None:
    asked = Followed(Ref(OWN, "emergency"), 1, PRODUCTION, Ref("", "production"), compromised=ROOT)
    record = rotation("TrustDomain", "production", OWN, compromised=ROOT)

    def end(listed: str, phase: str) -> End | None:
        domain = {
            "rotation": {"phase": "Idle"},
            "authorities": [{"fingerprint": "f" * 16}],
            "tokenRotation": {"phase": phase},
            "tokenKeys": [{"fingerprint": listed}],
        }
        status = {"phase": "Idle", "observedGeneration": 1}
        seen = {"kind": "TrustDomain", "status": domain}
        return sight(asked, {**record, "status": status}, seen).end

    assert end("e" * 16, "Idle") is End.DONE
    assert end(ROOT, "Idle") is None
    assert end("e" * 16, "Distributing") is None


class OneDomain:
    """API server with one trust domain."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        authorities = [{"fingerprint": "f" * 16, "state": "Active"}]
        keys = [{"fingerprint": ROOT, "state": "Active"}]
        status = {"authorities": authorities, "tokenKeys": keys}
        return {"kind": kind, "metadata": {"name": ref.name}, "status": status}


@pytest.mark.parametrize(
    ("fingerprint", "signs_tokens"), [("f" * 16, False), (ROOT, True), (ROOT + "0" * 48, True)]
)
async def test_root_and_token_key_are_distinguished(fingerprint: str, signs_tokens: bool) -> None:
    arguments = Arguments(parse_target("td/production"), OWN, compromised=fingerprint)
    lost = await _compromised(cast("PersonalServer", OneDomain()), arguments)
    assert (lost.fingerprint, lost.signs_tokens) == (fingerprint[:16], signs_tokens)


async def test_unknown_fingerprint_is_rejected_with_the_known_ones() -> None:
    arguments = Arguments(parse_target("td/production"), OWN, compromised="a" * 16)
    with pytest.raises(
        FaultyManifests, match=f"has no root or token key .*, its token keys {ROOT}"
    ):
        await _compromised(cast("PersonalServer", OneDomain()), arguments)


async def test_compromised_is_rejected_for_other_kinds_than_trust_domain() -> None:
    arguments = Arguments(parse_target("sid/payments"), "shop", compromised=ROOT)
    with pytest.raises(FaultyManifests, match="only for a TrustDomain's root or token key"):
        await _compromised(cast("PersonalServer", OneDomain()), arguments)
    told = " ".join(CliRunner().invoke(app, ["rotate", "--help"]).stdout.split())
    assert "Revoke this root or token key of a TrustDomain" in told


# Output


SIGHTS = [
    Sight("Idle", (), seen=False),
    Sight("Prepared", ()),
    Sight("Prepared", ("the bundle of shop",)),
    Sight("Prepared", ("the bundle of shop", "the bundle of web")),
    Sight("Overlapping", ()),
    Sight("Idle", (), made=stamp(NOW), end=End.DONE),
]


def test_plain_output_has_each_phase_and_each_blocker_once() -> None:
    output = io.StringIO()
    lines = Lines(Console(file=output, width=200), Passage(lambda: NOW))
    with lines:
        for each in SIGHTS:
            lines.show(each)
    assert output.getvalue().splitlines() == [
        "12:00:00Z  waiting for the operator",
        "12:00:00Z  Prepared: verifiers receive the new credential",
        "12:00:00Z    waiting: the bundle of shop",
        "12:00:00Z    waiting: the bundle of web",
        "12:00:00Z  Overlapping: workloads switch to the new credential; the old one is valid",
    ]


def test_repeated_error_is_printed_once_until_the_next_observation() -> None:
    output = io.StringIO()
    lines = Lines(Console(file=output, width=200))
    for _ in range(3):
        lines.trouble("the API server cannot be reached")
    lines.show(Sight("Prepared", ()))
    lines.trouble("the API server cannot be reached")
    assert output.getvalue().count("the API server cannot be reached; retrying") == 2


def test_terminal_shows_a_row_per_phase_with_start_and_duration() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    now = iter(NOW + timedelta(seconds=30 * number) for number in range(len(SIGHTS)))
    moment = [NOW]
    moving = Moving(console, Passage(lambda: moment[0]))
    for each in SIGHTS[:-1]:
        moment[0] = next(now)
        moving.show(each)
    with console.capture() as captured:
        console.print(moving.drawing())
    rows = [row.rstrip() for row in captured.get().splitlines()]
    assert [(row[2:11], row.split()[2], row.split()[-1]) for row in rows] == [
        ("12:00:00Z", "waiting", "30s"),
        ("12:00:30Z", "Prepared:", "90s"),
        ("12:02:00Z", "Overlapping:", "0s"),
    ]
    assert [row[0] for row in rows[:2]] == ["✓", "✓"]
