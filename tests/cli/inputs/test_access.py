"""Access to a cluster: what is wrong with a kubeconfig, without its credentials."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.config import incluster_config

from tests.changed_manifests import GONE, changed
from tests.cli.check.test_fuzz import CONFIG
from troth.cli.inputs import access
from troth.cli.inputs.access import home, reach
from troth.cluster.connection import connecting
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


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in a pod without a kubeconfig; return the folder of its ServiceAccount."""
    for module in (connecting, incluster_config):
        monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv(incluster_config.SERVICE_HOST_ENV_NAME, "10.0.0.1")
    monkeypatch.setattr(access, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    (tmp_path / "token").write_text("hunter2")
    (tmp_path / "namespace").write_text("shop\n")
    return tmp_path


def test_home_in_a_pod_is_the_namespace_of_its_service_account(account: Path) -> None:
    assert home(None, None) == "shop"
    file = account / "kubeconfig"
    file.write_text(yaml.safe_dump(changed(CONFIG, "contexts.0.context.namespace", "web")))
    assert home(file, None) == "web"
    (account / "namespace").unlink()
    with pytest.raises(FaultyManifests, match="namespace of the pod: No such file or directory"):
        home(None, None)


def test_kubeconfig_that_is_missing_is_named(account: Path) -> None:
    (account / "token").unlink()  # not in a pod
    for read in (lambda: asyncio.run(reach(None, None)), lambda: home(None, None)):
        with pytest.raises(FaultyManifests, match="/none: no such file; name a kubeconfig file"):
            read()


def test_unknown_context_is_reported_with_the_known_ones(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(CONFIG))
    assert home(file, None) == home(file, "here") == "shop"
    with pytest.raises(FaultyManifests, match="has no context there; name one of here"):
        home(file, "there")
