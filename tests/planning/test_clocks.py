"""Until when somebody is waited for: until its end by every clock, also if ours was set forward."""

from datetime import timedelta

from tests.builders import HOUR
from tests.planning.test_rollouts import NOT_WITH_LEAF, SECRET, Story, old, restarting
from tests.workloads import workload

MINUTE = timedelta(minutes=1)


def test_a_program_is_waited_for_until_its_certificate_has_expired_by_every_clock() -> None:
    story = Story(restarting(), workload()).renewed()
    leaf = story.cluster.world.secrets[SECRET[1]].leaf
    assert leaf is not None
    for set_forward in (timedelta(0), HOUR):
        story.cluster.world.set_forward = set_forward
        story.cluster.now = leaf.not_after + set_forward + 4 * MINUTE
        assert old(story) == [NOT_WITH_LEAF]
        story.cluster.now += MINUTE
        assert old(story) == []
