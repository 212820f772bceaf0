"""The sandbox is a real cluster, and it ends with its holder."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sandbox import CommandError, ComponentError, Sandbox, SandboxError, control_plane
from tests.sandbox.observing import REPOSITORY, becomes, executable, processes_of

HOLDER = """
import signal, sys, time
from pathlib import Path
from sandbox import Sandbox

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

with Sandbox.start(Path(sys.argv[1])) as sandbox:
    print(sandbox.kubeconfig, flush=True)
    time.sleep(600)
"""


def test_service_account_token_is_valid_and_server_is_verified(sandbox: Sandbox) -> None:
    sandbox.kubectl("create", "serviceaccount", "alice")
    kubeconfig = sandbox.service_account_kubeconfig("default", "alice")
    with Sandbox.start(kubeconfig=kubeconfig) as alice:
        who = json.loads(alice.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
        assert who["username"] == "system:serviceaccount:default:alice"
        assert "credential-id" in str(who["extra"])  # issued by TokenRequest, not a legacy Secret


def test_server_of_another_ca_is_rejected(sandbox: Sandbox, tmp_path: Path) -> None:
    content = yaml.safe_load(sandbox.kubeconfig.read_text())
    del content["clusters"][0]["cluster"]["certificate-authority-data"]
    unverified = tmp_path / "kubeconfig"
    unverified.write_text(yaml.safe_dump(content))
    with (
        Sandbox.start(kubeconfig=unverified) as misled,
        pytest.raises(CommandError, match="x509"),
    ):
        misled.kubectl("get", "namespaces")


def test_rbac_denies_access_without_a_role_binding(sandbox: Sandbox) -> None:
    sandbox.kubectl("create", "serviceaccount", "bob")
    kubeconfig = sandbox.service_account_kubeconfig("default", "bob")
    with Sandbox.start(kubeconfig=kubeconfig) as bob:
        with pytest.raises(CommandError, match="Forbidden"):
            bob.kubectl("get", "secrets")
        sandbox.kubectl(
            *("create", "rolebinding", "bob", "--clusterrole=admin", "--serviceaccount=default:bob")
        )
        bob.kubectl("get", "secrets")


def test_api_server_advertises_an_address_other_than_loopback(
    sandbox: Sandbox,
) -> None:
    found = sandbox.kubectl("get", "endpointslice", "kubernetes", "-o", "json")
    assert json.loads(found)["endpoints"][0]["addresses"] == ["192.0.2.1"]


def test_all_ports_are_on_loopback(sandbox: Sandbox) -> None:
    server = yaml.safe_load(sandbox.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    host, port = server.removeprefix("https://").split(":")
    assert host == "127.0.0.1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing, finds this machine's address
        except OSError:
            pytest.skip("this machine has no other address")
        address = probe.getsockname()[0]
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address, int(port)), timeout=1)


def test_api_server_restarts_after_a_crash(sandbox: Sandbox) -> None:
    sandbox.kubectl("create", "configmap", "kept")
    sandbox.stop_api_server(grace=0)
    with pytest.raises(CommandError, match="refused"):
        sandbox.kubectl("get", "configmap", "kept")
    sandbox.start_api_server()
    sandbox.kubectl("get", "configmap", "kept")


def test_helm_writes_only_to_its_own_directories(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("{apiVersion: v2, name: tiny, version: 1.0.0}")
    (tmp_path / "templates" / "it.yaml").write_text(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: tiny}}"
    )
    sandbox.helm("install", "tiny", str(tmp_path))
    assert "tiny" in sandbox.kubectl("get", "configmap", "-o", "name")


def test_two_sandboxes_at_once_do_not_collide(sandbox: Sandbox) -> None:
    with Sandbox.start() as other:
        other.kubectl("create", "namespace", "only-here")
        assert "only-here" not in sandbox.kubectl("get", "namespaces")


def test_claimed_port_is_free_only_for_its_server() -> None:
    port = control_plane.free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)):
        socket.create_connection(("127.0.0.1", port)).close()


def test_port_in_use_is_replaced_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    free = control_plane.free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1], free])
        monkeypatch.setattr(control_plane, "free_port", lambda: next(ports))
        with Sandbox.start() as started:
            assert f"https://127.0.0.1:{free}" in started.kubeconfig.read_text()


def test_cluster_named_by_the_variable_is_used(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TROTH_SANDBOX_KUBECONFIG", str(sandbox.kubeconfig))
    with Sandbox.start() as named:
        assert named.kubeconfig == sandbox.kubeconfig
        with pytest.raises(SandboxError, match="not ours to stop"):
            named.stop_api_server()
    sandbox.kubectl("get", "namespaces")


def test_missing_cluster_named_by_the_variable_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TROTH_SANDBOX_KUBECONFIG", "/no/such/file")
    with pytest.raises(SandboxError, match="TROTH_SANDBOX_KUBECONFIG is /no/such/file"):
        Sandbox.start().__enter__()
    assert not list(tmp_path.iterdir())


def test_directory_that_is_not_empty_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(SandboxError, match="is not empty"):
        Sandbox.start(tmp_path).__enter__()
    assert (tmp_path / "precious").exists()


def test_error_names_the_failed_component_and_quotes_its_log(
    assets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    (assets / "etcd").unlink()
    executable(assets / "etcd", "echo the disk is full; exit 3")
    with pytest.raises(ComponentError, match=r"(?s)etcd ended with 3.*the disk is full") as failure:
        Sandbox.start(tmp_path / "sandbox").__enter__()
    assert failure.value.component == "etcd"
    assert not (tmp_path / "sandbox").exists()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_the_holder_ends(end: signal.Signals, tmp_path: Path) -> None:
    directory = tmp_path / "sandbox"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline()
        assert {
            Path(line.split()[0]).name for line in processes_of(directory) if "python" not in line
        } == {"etcd", "kube-apiserver", "kube-controller-manager"}
        os.killpg(holder.pid, end)
        assert becomes(lambda: not processes_of(directory) and not directory.exists())


def test_ctrl_c_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "sandbox"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(directory)],
        cwd=REPOSITORY,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as holder:
        assert becomes((directory / "kube-apiserver.log").exists)
        os.killpg(holder.pid, signal.SIGINT)
        assert becomes(lambda: not processes_of(directory) and not directory.exists())
