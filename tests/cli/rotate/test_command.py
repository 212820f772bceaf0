"""What `troth rotate` asks for, when it takes that for done, and what it shows meanwhile."""

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
from troth.cli.rotate.workflow import Wish, _compromised
from troth.resources.manifests import FaultyManifests
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation

SECOND = timedelta(seconds=1)
PAYMENTS = target_of("ServiceIdentity", "payments")
PRODUCTION = target_of("TrustDomain", "production")
ROOT = "0123456789abcdef"


# Naming a target


@pytest.mark.parametrize(
    "word",
    [
        *("sid", "serviceidentity", "serviceidentities", "ServiceIdentity", "SID"),
        "serviceidentity.troth.dev",
    ],
)
def test_a_kind_is_named_in_every_way_that_kubectl_takes(word: str) -> None:
    named = parse_target(f"{word}/payments")
    assert (named.kind.name, named.name) == ("ServiceIdentity", "payments")


@pytest.mark.parametrize("text", ["payments", "sid/", "/payments", "pod/payments", ""])
def test_what_names_no_resource_is_refused_with_the_kinds_there_are(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"such as sid/payments; .*TrustDomain \(td\)"):
        parse_target(text)


def test_what_has_no_credential_is_not_rotated() -> None:
    with pytest.raises(FaultyManifests, match="name a ServiceIdentity or TrustDomain"):
        target_of("CredentialRotation", "monthly")


def test_watching_without_asking_is_refused() -> None:
    result = CliRunner().invoke(app, ["rotate", "sid/payments", "--watch"])
    assert result.exit_code == 2
    assert "add --now" in result.output


# What is asked for


def asked(*rotations: Manifest, name: str = "", now: datetime = NOW) -> Manifest:
    return rotate_now(PAYMENTS, "shop", rotations, name, now).manifest()


def test_without_a_rotation_one_of_its_own_is_made() -> None:
    manifest = asked(rotation(target="web"))
    assert manifest == rotation(requestedAt=stamp(NOW + SECOND))
    CredentialRotation.parse(manifest)


def test_the_only_rotation_of_the_target_is_used_and_nothing_else_of_it_is_applied() -> None:
    manifest = asked(rotation(name="monthly", every="720h"), rotation(target="web"))
    assert manifest == rotation(name="monthly", requestedAt=stamp(NOW + SECOND))


def test_of_several_the_one_that_the_command_would_make_is_used() -> None:
    several = rotation(name="monthly"), rotation(name="weekly")
    assert asked(*several)["metadata"]["name"] == "payments-rotation"
    assert asked(*several, rotation())["metadata"]["name"] == "payments-rotation"
    assert asked(*several, name="weekly")["metadata"]["name"] == "weekly"
    assert asked(*several, name="new")["metadata"]["name"] == "new"


def test_a_rotation_of_something_else_is_not_taken_by_its_name() -> None:
    with pytest.raises(FaultyManifests, match="rotates ServiceIdentity web; choose another"):
        asked(rotation(target="web", name="weekly"), name="weekly")


def test_what_is_committed_says_everything_that_is_there() -> None:
    monthly = rotation(name="monthly", every="720h")
    committed = rotate_now(PAYMENTS, "shop", [monthly], "", NOW).committed()
    assert committed == rotation(name="monthly", every="720h", requestedAt=stamp(NOW + SECOND))


@pytest.mark.parametrize(
    ("now", "last", "moment"),
    [
        (NOW, None, NOW + SECOND),
        (NOW + timedelta(milliseconds=999), None, NOW + SECOND),
        (NOW + timedelta(milliseconds=999), NOW, NOW + SECOND),
        # a clock that is behind the operator's
        (NOW, NOW, NOW + SECOND),
        (NOW, NOW + SECOND, NOW + 2 * SECOND),
        (NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=1) + SECOND),
    ],
)
def test_a_request_is_a_whole_second_later_than_anything_made_so_far(
    now: datetime, last: datetime | None, moment: datetime
) -> None:
    status = {"lastRotated": stamp(last)} if last else {}
    manifest = asked({**rotation(), "status": status}, now=now)
    assert manifest["spec"]["requestedAt"] == stamp(moment)


def test_the_longest_name_leaves_room_for_what_is_added() -> None:
    long = target_of("ServiceIdentity", "a" * 62 + "b")
    request = rotate_now(long, "shop", [], "", NOW)
    assert len(request.ref.name) == 63
    CredentialRotation.parse(request.manifest())


def test_a_compromised_root_is_declared_in_a_rotation_of_its_own() -> None:
    yearly = rotation("TrustDomain", "production", OWN, "yearly", every="8760h")
    manifest = drop_root(PRODUCTION, OWN, [yearly], "", ROOT).manifest()
    name = "production-compromised-01234567"
    assert manifest == rotation("TrustDomain", "production", OWN, name, compromised=ROOT)
    CredentialRotation.parse(manifest)


def test_the_record_of_a_compromised_root_is_not_used_for_other_requests() -> None:
    record = rotation("TrustDomain", "production", OWN, "record", compromised=ROOT)
    request = rotate_now(PRODUCTION, OWN, [record], "", NOW)
    assert request.ref == Ref(OWN, "production-rotation")
    with pytest.raises(FaultyManifests, match="is the record of a compromised root or key"):
        rotate_now(PRODUCTION, OWN, [record], "record", NOW)


def test_one_record_does_not_take_the_place_of_another() -> None:
    record = rotation("TrustDomain", "production", OWN, "record", compromised=ROOT)
    with pytest.raises(FaultyManifests, match="is the record of a compromised root or key"):
        drop_root(PRODUCTION, OWN, [record], "record", "f" * 16)
    assert drop_root(PRODUCTION, OWN, [record], "record", ROOT).manifest() == record


def test_what_has_the_name_of_a_new_request_and_is_for_something_else_is_left_alone() -> None:
    """What is applied replaces what the same person applied before: a record would be gone."""
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


# When it is over


FOLLOWED = Followed(Ref("shop", "payments-rotation"), 2, PAYMENTS, Ref("shop", "payments"), NOW)


def told(
    phase: str = "Idle",
    made: datetime | None = None,
    reason: str = "InPlace",
    generation: int = 2,
    **spec: str,
) -> Manifest:
    """A rotation and what its status says."""
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


def test_it_is_done_when_the_credential_in_use_was_made_since_and_all_is_idle() -> None:
    assert sight(FOLLOWED, told(made=NOW), None).end is End.DONE
    assert sight(FOLLOWED, told(made=NOW - SECOND), None).end is None
    assert sight(FOLLOWED, told(made=None), None).end is None
    assert sight(FOLLOWED, told("Overlapping", made=NOW), None).end is None


def test_a_status_of_before_the_request_counts_for_nothing() -> None:
    before = sight(FOLLOWED, told(made=NOW, reason="TargetMissing", generation=1), None)
    assert (before.seen, before.end) == (False, None)


def test_what_needs_a_person_ends_it() -> None:
    seen = sight(FOLLOWED, told(reason="TargetMissing"), None)
    assert (seen.end, seen.sentence) == (End.STALLED, "because of TargetMissing")


@pytest.mark.parametrize("reason", ["OverlapTooLong", "TimeZoneUnknown", "WindowNeverOpens"])
def test_what_is_wrong_with_the_schedule_holds_up_no_request(reason: str) -> None:
    assert sight(FOLLOWED, told(reason=reason), None).end is None
    assert sight(FOLLOWED, told(reason=reason, made=NOW), None).end is End.DONE


def target(certificate: str, stalled: str) -> Manifest:
    told = conditions("SharedIdentity", CertificateIssued=certificate, Stalled=stalled)
    return {"kind": "ServiceIdentity", "status": {"conditions": told}}


@pytest.mark.parametrize(
    ("certificate", "stalled", "end"),
    [("False", "True", End.STALLED), ("False", "False", None), ("True", "True", None)],
)
def test_a_target_whose_credential_needs_a_person_ends_it_too(
    certificate: str, stalled: str, end: End | None
) -> None:
    assert sight(FOLLOWED, told(), target(certificate, stalled)).end is end
    assert sight(FOLLOWED, told(made=NOW), target(certificate, stalled)).end is End.DONE


def test_a_request_that_is_taken_back_or_deleted_is_over() -> None:
    earlier = told(requestedAt=stamp(NOW - SECOND))
    assert "was changed and no longer requests this" in sight(FOLLOWED, earlier, None).sentence
    later = told(requestedAt=stamp(NOW + SECOND))
    assert sight(FOLLOWED, later, None).end is None
    assert "was deleted" in sight(FOLLOWED, None, None).sentence


def test_a_compromised_root_is_done_when_it_is_listed_no_more_and_nobody_is_cut_off() -> None:
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


def test_a_compromised_token_key_is_done_when_it_is_listed_no_more() -> None:
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
    """An API server that has one trust domain."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        authorities = [{"fingerprint": "f" * 16, "state": "Active"}]
        keys = [{"fingerprint": ROOT, "state": "Active"}]
        status = {"authorities": authorities, "tokenKeys": keys}
        return {"kind": kind, "metadata": {"name": ref.name}, "status": status}


@pytest.mark.parametrize(
    ("fingerprint", "signs_tokens"), [("f" * 16, False), (ROOT, True), (ROOT + "0" * 48, True)]
)
async def test_a_root_and_a_token_key_are_told_apart(fingerprint: str, signs_tokens: bool) -> None:
    wish = Wish(parse_target("td/production"), OWN, compromised=fingerprint)
    lost = await _compromised(cast("PersonalServer", OneDomain()), wish)
    assert (lost.fingerprint, lost.signs_tokens) == (fingerprint[:16], signs_tokens)


async def test_what_is_neither_a_root_nor_a_token_key_is_refused_with_those_there_are() -> None:
    wish = Wish(parse_target("td/production"), OWN, compromised="a" * 16)
    with pytest.raises(
        FaultyManifests, match=f"has no root or token key .*, its token keys {ROOT}"
    ):
        await _compromised(cast("PersonalServer", OneDomain()), wish)


async def test_what_is_no_trust_domains_is_said_to_have_neither() -> None:
    wish = Wish(parse_target("sid/payments"), "shop", compromised=ROOT)
    with pytest.raises(FaultyManifests, match="only for a TrustDomain's root or token key"):
        await _compromised(cast("PersonalServer", OneDomain()), wish)
    told = " ".join(CliRunner().invoke(app, ["rotate", "--help"]).stdout.split())
    assert "Revoke this root or token key of a TrustDomain" in told


# What is shown


SIGHTS = [
    Sight("Idle", (), seen=False),
    Sight("Prepared", ()),
    Sight("Prepared", ("the bundle of shop",)),
    Sight("Prepared", ("the bundle of shop", "the bundle of web")),
    Sight("Overlapping", ()),
    Sight("Idle", (), made=stamp(NOW), end=End.DONE),
]


def test_plain_lines_tell_each_phase_and_each_blocker_once() -> None:
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


def test_the_same_trouble_is_told_once_until_something_is_seen_again() -> None:
    output = io.StringIO()
    lines = Lines(Console(file=output, width=200))
    for _ in range(3):
        lines.trouble("the API server cannot be reached")
    lines.show(Sight("Prepared", ()))
    lines.trouble("the API server cannot be reached")
    assert output.getvalue().count("the API server cannot be reached; retrying") == 2


def test_a_terminal_shows_a_row_a_phase_with_when_it_began_and_how_long_it_took() -> None:
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
