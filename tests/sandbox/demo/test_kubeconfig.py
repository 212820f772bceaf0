"""The demo's own copy of a kubeconfig needs no other file or program, and loses no setting."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox.demo.errors import DemoError
from sandbox.demo.existing.kubeconfig import self_contained
from tests.sandbox.observing import executable


def kubeconfig(tmp_path: Path, user: dict[str, Any], **cluster: object) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1", **cluster}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = tmp_path / "given"
    file.write_text(yaml.safe_dump(content))
    return file


def user_of(tmp_path: Path, user: dict[str, Any]) -> dict[str, Any]:
    directory = tmp_path / "own"
    directory.mkdir()
    written = self_contained(kubeconfig(tmp_path, user), directory)
    assert written.stat().st_mode & 0o777 == 0o600
    assert [written] == list(directory.iterdir()), "no key or token in another file"
    found: dict[str, Any] = yaml.safe_load(written.read_text())["users"][0]["user"]
    return found


def test_certificate_in_files_is_copied(tmp_path: Path) -> None:
    for name in ("crt", "key"):
        (tmp_path / name).write_text(name)
    user = {"client-certificate": str(tmp_path / "crt"), "client-key": str(tmp_path / "key")}
    found = user_of(tmp_path, user)
    assert found == {"client-certificate-data": "Y3J0", "client-key-data": "a2V5"}


def test_token_in_a_file_is_copied(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    assert user_of(tmp_path, {"tokenFile": str(tmp_path / "token")}) == {"token": "abc"}


def test_program_supplies_the_token(tmp_path: Path) -> None:
    version = "client.authentication.k8s.io/v1"
    answer = f'{{"apiVersion":"{version}","kind":"ExecCredential","status":{{"token":"abc"}}}}'
    program = executable(tmp_path / "login", f"echo '{answer}'")
    login = {"apiVersion": version, "command": str(program), "interactiveMode": "Never"}
    assert user_of(tmp_path, {"exec": login}) == {"token": "abc"}


@pytest.mark.parametrize(
    ("user", "cluster", "words"),
    [
        ({"token": "t"}, {"insecure-skip-tls-verify": True}, "cluster of .* insecure-skip-tls-v"),
        ({"token": "t"}, {"proxy-url": "http://p"}, "has proxy-url"),
        ({"token": "t", "as": "somebody"}, {}, "user of .* has as,"),
        ({}, {}, "neither a certificate nor a token"),
    ],
)
def test_setting_that_would_be_lost_is_rejected(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], words: str
) -> None:
    with pytest.raises(DemoError, match=words):
        self_contained(kubeconfig(tmp_path, user, **cluster), tmp_path)


def test_file_without_a_context_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    file.write_text("{apiVersion: v1, kind: Config}")
    with pytest.raises(DemoError, match=str(file)):
        self_contained(file, tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="there is no kubeconfig"):
        self_contained(tmp_path / "nowhere", tmp_path)
