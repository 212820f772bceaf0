"""Options of `troth run`."""

import pytest
from typer.testing import CliRunner

from troth.cli.main import app


@pytest.mark.parametrize("namespaces", ["shop-*", "shop,,billing", "Shop"])
def test_namespaces_that_no_namespace_can_have_are_rejected(namespaces: str) -> None:
    done = CliRunner().invoke(app, ["run"], env={"TROTH_NAMESPACES": namespaces, "COLUMNS": "200"})
    assert done.exit_code == 2
    assert "is not the name of a namespace; write names such as shop,billing" in done.output
