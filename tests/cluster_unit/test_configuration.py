"""Configuration of the connection to the API server, and of its proxy."""

from pathlib import Path

import pytest

from sandbox.kubeconfig import write_kubeconfig
from troth.cluster.connection.connecting import configuration

PROXY = "http://proxy.example:3128"


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    cluster = {"server": "https://api.example:6443"}
    return str(write_kubeconfig(tmp_path / "kubeconfig", cluster=cluster, user={"token": "t"}))


async def test_server_is_reached_directly_without_a_proxy(kubeconfig: str) -> None:
    assert (await configuration(kubeconfig)).proxy is None


async def test_proxy_of_the_environment_is_used(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert (await configuration(kubeconfig)).proxy == PROXY


async def test_proxy_is_not_used_for_excluded_hosts(
    kubeconfig: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "api.example")
    assert (await configuration(kubeconfig)).proxy is None


async def test_netrc_is_not_read(kubeconfig: str) -> None:
    config = await configuration(kubeconfig)
    assert config.client_session_kwargs == {"trust_env": False}
