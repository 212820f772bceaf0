"""Schedule: when declared rotations request a new credential."""

from datetime import datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import DAY, HOUR, NOW, rotation, stamp
from tests.strategies import more
from troth.planning.rotation.schedule import due_at, overlap_of
from troth.resources.rotation.spec import CredentialRotation


def declared(**spec: Any) -> CredentialRotation:
    return CredentialRotation.parse(rotation(**spec))


def test_no_rotation_requests_nothing() -> None:
    assert due_at([declared()], NOW, NOW) is None


def test_request_is_answered_by_a_credential_made_after_it() -> None:
    asked = declared(requestedAt=stamp(NOW))
    assert due_at([asked], NOW - HOUR, NOW) == NOW
    assert due_at([asked], NOW, NOW + HOUR) is None
    assert due_at([asked], NOW + HOUR, NOW + HOUR) is None


def test_later_request_waits_until_its_time() -> None:
    assert due_at([declared(requestedAt=stamp(NOW + DAY))], NOW, NOW) == NOW + DAY


def test_two_requests_are_answered_by_one_rotation() -> None:
    asked = [declared(requestedAt=stamp(NOW)), declared(requestedAt=stamp(NOW + HOUR))]
    assert due_at(asked, NOW - DAY, NOW + 2 * HOUR) == NOW
    assert due_at(asked, NOW + 2 * HOUR, NOW + 2 * HOUR) is None


def test_shortest_interval_counts() -> None:
    assert due_at([declared(every="72h"), declared(every="48h")], NOW, NOW) == NOW + 2 * DAY


def test_due_interval_waits_for_a_window_and_a_request_does_not() -> None:
    nights = [{"cron": "0 2 * * *", "duration": "1h"}]
    scheduled = declared(every="24h", windows=nights)
    made = NOW  # noon
    two_at_night = NOW.replace(hour=2) + 2 * DAY
    assert due_at([scheduled], made, NOW) == two_at_night
    assert due_at([scheduled], made, two_at_night + HOUR) == two_at_night + DAY  # it was missed
    at_once = declared(every="24h", windows=nights, requestedAt=stamp(NOW + HOUR))
    assert due_at([at_once], made, NOW) == NOW + HOUR


def test_longest_overlap_counts() -> None:
    assert overlap_of([]) == timedelta(0)
    assert overlap_of([declared(overlap="1h"), declared(overlap="24h")]) == DAY


moments = st.integers(0, 10**6).map(lambda seconds: NOW + timedelta(seconds=seconds))


@more(1)
@given(moments, moments, moments, st.integers(300, 10**5))
def test_nothing_is_due_after_the_rotation(
    made: datetime, now: datetime, asked: datetime, every: int
) -> None:
    rotations = [declared(requestedAt=stamp(asked), every=f"{every}s")]
    due = due_at(rotations, made, now)
    assert due is not None
    if due <= now:
        again = due_at(rotations, now, now)
        assert again is not None
        assert again > now
