"""The random campaigns, with two copies of the operator that act at once, each on some shards.

The same judges check each write and the cluster at rest: what one copy's plans read of the other's
outcomes reaches them through the cluster.
"""

import pytest

from tests.campaign.stages.brokers import BrokerStage
from tests.campaign.stages.stage import Stage
from tests.campaign.test_campaign import Campaign
from tests.campaign.test_messaging import FEW, MessagingCampaign
from tests.strategies import NAMESPACES, campaign, fewer
from troth.world.shards import CENTRAL, shard_of_namespace

SHARDS = 3


class ShardedStage(Stage):
    shards = SHARDS


class ShardedBrokerStage(BrokerStage):
    shards = SHARDS


class ShardedCampaign(Campaign):
    def __init__(self) -> None:
        super().__init__(ShardedStage())


class ShardedMessagingCampaign(MessagingCampaign):
    def __init__(self) -> None:
        super().__init__(ShardedBrokerStage())


TestShardedCampaign = pytest.mark.long(ShardedCampaign.TestCase)
TestShardedCampaign.settings = campaign(fewer(2))
TestShardedMessagingCampaign = pytest.mark.long(ShardedMessagingCampaign.TestCase)
TestShardedMessagingCampaign.settings = campaign(FEW)


def test_namespaces_of_the_campaign_are_in_several_shards() -> None:
    shards = {shard_of_namespace(each, SHARDS) for each in NAMESPACES}
    assert len(shards | {CENTRAL}) > 1
