"""What the demo says about a cluster that it keeps."""

import pytest

from sandbox.demo.keeping import _what_to_try
from sandbox.node.tiers import Tier


@pytest.mark.parametrize("tier", Tier, ids=str)
def test_kept_cluster_can_be_removed_and_only_pods_can_be_entered(tier: Tier) -> None:
    text = _what_to_try(tier)
    assert "-m sandbox down --name demo" in text
    assert ("kubectl exec" in text) == (tier is Tier.NODE)
