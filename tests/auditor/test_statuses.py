"""Statuses that the auditor writes: bounded, stable, and only if they differ."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests import builders
from tests.audit.reports.building import HOSTILE, TOKEN
from troth.audit.finding import Finding, Object
from troth.audit.scene import scene_of
from troth.auditor.statuses import REFRESH, StatusWrite, first_seen_in, status_writes
from troth.resources.references import Ref
from troth.resources.reported import (
    MOST_FINDINGS,
    PeerTraffic,
    Severity,
    TrafficDirection,
    TrafficVerdict,
)

NOW = builders.NOW
PAYMENTS = Ref("shop", "payments")
SUBJECT = Object("ServiceIdentity", PAYMENTS)
Manifest = dict[str, Any]


def finding(about: str = "", message: str = "mend it") -> Finding:
    return Finding("TR701", SUBJECT, message, about=about)


def peer(count: int, seen: datetime) -> PeerTraffic:
    return PeerTraffic(
        peer="shop/web",
        direction=TrafficDirection.INBOUND,
        port=8443,
        verdict=TrafficVerdict.ALLOWED,
        connections=count,
        first_seen=NOW - timedelta(days=1),
        last_seen=seen,
    )


def writes(
    status: Manifest, *found: Finding, peers: tuple[PeerTraffic, ...] | None = None
) -> list[StatusWrite]:
    """Return the writes for an identity with a status."""
    manifest = {**builders.identity("payments", "shop"), "status": status}
    scene = scene_of([manifest], NOW, in_cluster=True)
    seen = {each.id: NOW for each in found}
    return status_writes(scene, found, seen, None if peers is None else {PAYMENTS: peers})


def test_written_status_needs_no_second_write() -> None:
    (write,) = writes({}, finding(), peers=(peer(1, NOW),))
    assert set(write.members) == {"findings", "traffic"}
    assert writes(write.members, finding(), peers=(peer(1, NOW),)) == []


def test_status_without_findings_is_not_written() -> None:
    assert writes({"conditions": []}) == []


def test_mended_finding_is_removed_and_traffic_stays() -> None:
    (write,) = writes({}, finding(), peers=(peer(1, NOW),))
    (mended,) = writes(write.members, peers=(peer(1, NOW),))
    assert mended.members == {"traffic": write.members["traffic"]}


def test_status_has_the_worst_findings_with_bounded_messages() -> None:
    found = [finding(str(number), "x" * 5000) for number in range(MOST_FINDINGS + 5)]
    (write,) = writes({}, *found)
    assert [each["id"] for each in write.members["findings"]] == [
        each.id for each in found[:MOST_FINDINGS]
    ]
    assert len(write.members["findings"][0]["message"]) == 1024


def test_message_is_one_printable_line_without_tokens() -> None:
    for hostile in HOSTILE:
        (write,) = writes({}, finding(message=hostile))
        message = write.members["findings"][0]["message"]
        assert message.isprintable()
        assert TOKEN not in message


def test_severity_of_a_finding_counts_before_that_of_its_rule() -> None:
    (write,) = writes({}, replace(finding(), severity=Severity.CRITICAL))
    assert write.members["findings"][0]["severity"] == "critical"


def test_first_time_of_a_finding_is_read_from_the_status() -> None:
    (write,) = writes({}, finding())
    manifest = {**builders.identity("payments", "shop"), "status": write.members}
    scene = scene_of([manifest], NOW + timedelta(days=1), in_cluster=True)
    assert first_seen_in(scene) == {("shop", finding().id): NOW}


def test_first_time_in_the_future_is_left_out() -> None:
    (write,) = writes({}, finding())
    manifest = {**builders.identity("payments", "shop"), "status": write.members}
    scene = scene_of([manifest], NOW - timedelta(days=1), in_cluster=True)
    assert first_seen_in(scene) == {}


def test_counts_alone_are_written_only_once_they_are_old() -> None:
    (write,) = writes({}, peers=(peer(1, NOW),))
    assert writes(write.members, peers=(peer(2, NOW),)) == []
    (old,) = writes({}, peers=(peer(1, NOW - REFRESH),))
    (refreshed,) = writes(old.members, peers=(peer(2, NOW),))
    assert refreshed.members["traffic"][0]["connections"] == 2


def test_traffic_stays_while_nobody_watches() -> None:
    (write,) = writes({}, peers=(peer(1, NOW),))
    assert writes(write.members, peers=None) == []


def test_manifest_names_the_object_and_nothing_else_of_its_status() -> None:
    (write,) = writes({"conditions": [{"type": "Ready"}]}, finding())
    assert write.manifest["status"].keys() == {"findings"}
    assert write.manifest["metadata"] == {
        "name": "payments",
        "namespace": "shop",
        "uid": builders.identity("payments", "shop")["metadata"].get("uid", ""),
    }


@pytest.mark.parametrize("written", ["2026-01-01t00:00:00z", "2026-01-01", "soon"])
def test_first_time_in_a_form_that_troth_does_not_write_is_left_out(written: str) -> None:
    (write,) = writes({}, finding())
    status = {"findings": [{**write.members["findings"][0], "since": written}]}
    manifest = {**builders.identity("payments", "shop"), "status": status}
    scene = scene_of([manifest], NOW + timedelta(days=1), in_cluster=True)
    assert first_seen_in(scene) == {}
