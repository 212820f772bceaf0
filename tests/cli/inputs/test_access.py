"""Access to a cluster: what is wrong with a kubeconfig, without its credentials."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.changed_manifests import GONE, changed
from tests.cli.check.test_fuzz import CONFIG
from troth.cli.inputs.access import home, reach
from troth.resources.faults import FaultyManifests


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("users.0.user.client-certificate-data", None, "Expected key client-certificate-data"),
        ("contexts.0.context.cluster", "other", "Expected object with name other"),
        ("clusters.0.cluster.server", "::::", "server is not a URL such as https://"),
        ("clusters.0.cluster.proxy-url", True, "the value of proxy is not text"),
        ("clusters", [], "Expected object with name c"),
        ("current-context", GONE, "Expected key current-context"),
    ],
)
def test_kubeconfig_error_says_what_is_wrong_and_quotes_no_credential(
    tmp_path: Path, path: str, value: Any, told: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(changed(CONFIG, path, value)))
    with pytest.raises(FaultyManifests) as refusal:
        asyncio.run(reach(file, None))
    assert told in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("token", "told"),
    [
        ("!hunter2", "put a value that begins with ! in quotes"),
        ("!it's-hunter2", "put a value that begins with ! in quotes"),
        ("!a!hunter2", "put a value that begins with ! in quotes"),
        ("!<hunter2>", "put a value that begins with ! in quotes"),
        ("*hunter2", "put a value that begins with * in quotes"),
        ("&hunter2 {a: &hunter2 b}", "found duplicate anchor …: line 17: second occurrence"),
    ],
)
def test_credential_that_is_not_in_quotes_is_not_quoted(
    tmp_path: Path, token: str, told: str
) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(CONFIG).replace("hunter2", token))
    for read in (lambda: asyncio.run(reach(file, None)), lambda: home(file, None)):
        with pytest.raises(FaultyManifests) as refusal:
            read()
        assert told in str(refusal.value)
        assert "hunter2" not in str(refusal.value)


def test_unknown_context_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(CONFIG))
    assert home(file, None) == home(file, "here") == "shop"
    with pytest.raises(FaultyManifests, match="has no context there; name one of here"):
        home(file, "there")
