"""examples/messages: beside examples/shop, each file comes to the same grants."""

import pytest
from typer.testing import CliRunner

from sandbox.demo.setting import BrokerName
from sandbox.demo.shop import FOLDER, MESSAGES
from troth.cli.main import app


@pytest.mark.parametrize("broker", list(BrokerName))
def test_orders_go_from_checkout_to_fulfilment_and_aside(broker: BrokerName) -> None:
    files = ("-f", str(FOLDER), "-f", str(MESSAGES / f"{broker}.yaml"))
    output = CliRunner().invoke(app, ["plan", *files]).output
    _, _, rest = output.partition("\nGrants to add\n")
    granted = [line.strip() for line in rest.splitlines()[:4]]
    assert granted == [
        "prod.orders.v1 at messaging/main → shop/fulfilment, group fulfilment",
        "shop/checkout → prod.orders.v1 at messaging/main",
        "shop/fulfilment → prod.orders.v1.dlq at messaging/main",
        "Credentials to issue",
    ]
    assert "TopicPolicy shop/orders:" not in output  # nothing of it needs attention


def test_there_is_a_file_for_each_broker_of_the_demo() -> None:
    assert {file.stem for file in MESSAGES.iterdir()} == set(BrokerName)
