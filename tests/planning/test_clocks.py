"""Waits for a certificate's expiry allow for clocks that differ, also if ours is set forward."""

from datetime import timedelta

from tests.builders import HOUR, NOW, YEAR, Manifest, authority_secret, root, secret
from tests.planning.certificates.test_rollouts import (
    NOT_WITH_LEAF,
    PRODUCTION,
    SECRET,
    Story,
    old,
    restarting,
)
from tests.workloads import budget, workload
from troth.pki.certificates.issuing import create_root
from troth.pki.keys.private import generate_key, private_key_pem
from troth.resources.algorithms import KeyAlgorithm

MINUTE = timedelta(minutes=1)


def test_program_is_waited_for_until_its_leaf_expired_by_every_clock() -> None:
    story = Story(restarting(), workload()).renewed()
    leaf = story.cluster.world.secrets[SECRET[1]].leaf
    assert leaf is not None
    for set_forward in (timedelta(0), HOUR):
        story.cluster.set_forward = set_forward
        story.cluster.now = leaf.not_after + set_forward + 4 * MINUTE
        assert old(story) == [NOT_WITH_LEAF]
        story.cluster.now += MINUTE
        assert old(story) == []


def test_old_root_is_kept_until_such_a_leaf_expired_by_every_clock() -> None:
    story = Story(restarting(), workload(), budget()).put(with_two_roots())
    story.later(YEAR - HOUR)
    story.later(HOUR + 4 * MINUTE)
    assert [each.split(";")[0] for each in rotation(story)["blockers"]] == [NOT_WITH_LEAF]
    story.later(MINUTE)
    assert rotation(story)["blockers"] == []


def with_two_roots() -> Manifest:
    """Return the authority's Secret with a new root that has just begun to sign."""
    old, _ = root("production.example")
    key = generate_key(KeyAlgorithm.ECDSA_P256)
    new = create_root("production.example", key, 3 * YEAR, NOW)
    made = authority_secret()
    pem = private_key_pem(key)
    made["data"] |= secret("x", tls_crt=new, tls_key=pem, retiring_crt=old)["data"]
    return made


def rotation(story: Story) -> Manifest:
    status = story.cluster.plan(PRODUCTION).status
    assert status is not None
    told: Manifest = status["rotation"]
    return told
