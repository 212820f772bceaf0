"""examples/messages: with examples/shop, the file for each broker leads to the same grants."""

import re

import pytest
from typer.testing import CliRunner

from sandbox.demo.setting import BrokerName
from sandbox.demo.shop import FOLDER, MESSAGES
from troth.cli.main import app


@pytest.mark.parametrize("broker", list(BrokerName))
def test_orders_flow_from_checkout_to_fulfilment_and_the_dead_letter_topic(
    broker: BrokerName,
) -> None:
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
    assert "TopicPolicy shop/orders:" not in output  # nothing in it needs attention


def test_every_broker_of_the_demo_has_a_file() -> None:
    assert {file.stem for file in MESSAGES.glob("*.yaml")} == set(BrokerName)


@pytest.mark.parametrize(
    "code", re.findall(r"```python\n(.*?)```", (MESSAGES / "README.md").read_text(), re.DOTALL)
)
def test_code_of_the_readme_uses_what_the_library_has(code: str) -> None:
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)  # connects to nothing until it is called
    assert {"place", "fulfil"} & names.keys()
