"""The commands without a cluster: what a backup may be written to, and what a restore reads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.cli.running import troth
from tests.patience import PATIENCE
from troth.cli.backup import collect
from troth.cli.backup.file import FORM, read
from troth.cli.backup.restoring import refusal
from troth.cluster.errors import ApiError
from troth.resources.faults import FaultyManifests
from troth.world.facts.objects import MANAGED_BY

KEY = "LS0tLS1CRUdJTg"


def test_backup_is_not_written_to_a_file_that_others_can_read(tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    command = [sys.executable, "-m", "troth.cli", "backup", "--kubeconfig", "missing"]
    for mode, expected in ((0o644, "others can read the file"), (0o600, "missing: no such file")):
        file.touch()
        file.chmod(mode)
        with file.open("w") as output:
            ended = subprocess.run(
                command,
                stdout=output,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                env=os.environ,
                timeout=PATIENCE,
            )
        assert ended.returncode == 2
        assert expected in ended.stderr


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> list[dict[str, object]]:
        return [builders.identity("payments")]

    monkeypatch.setattr(collect, "collected", nothing)


@pytest.mark.usefixtures("collected")
def test_only_the_user_can_read_a_written_backup(tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    before = os.umask(0)
    try:
        ended = troth("backup", "--write", str(file))
    finally:
        os.umask(before)
    assert ended.code == 0
    assert "contains private keys" in ended.errors
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each["kind"] for each in read([file])] == ["ServiceIdentity"]


@pytest.mark.usefixtures("collected")
def test_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    file.write_text("another backup")
    ended = troth("backup", "--write", str(file))
    assert (ended.code, ended.errors) == (2, f"{file}: File exists\n")
    assert file.read_text() == "another backup"


@pytest.mark.usefixtures("collected")
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_restore_reads_both_forms(tmp_path: Path, form: str) -> None:
    file = tmp_path / "backup"
    file.write_text(troth("backup", "-o", form).output)
    assert [each["metadata"]["name"] for each in read([file])] == ["payments"]


@pytest.mark.parametrize(
    "text",
    ["", "{", f"- {KEY}", f'"{KEY}"', f'{{"items": [{{"kind": 1, "data": "{KEY}"}}]}}', "\x00"],
)
def test_other_files_are_rejected_without_quoting_them(tmp_path: Path, text: str) -> None:
    file = tmp_path / "backup.json"
    file.write_text(text)
    ended = troth("restore", "-f", str(file), "--kubeconfig", "missing")
    assert (ended.code, ended.errors) == (2, f"{file}: {FORM}\n")


ODD = [
    {"metadata": {"name": "a", "namespace": "shop", "ownerReferences": [KEY]}},
    {"metadata": {"name": "a", "namespace": "shop", "ownerReferences": [{"name": 7}]}},
    {"metadata": {"name": "a", "namespace": "shop", "ownerReferences": [{"kind": "A"}]}},
    {"metadata": {"name": "a", "namespace": "shop", "managedFields": [KEY]}},
    {"metadata": {"name": "a", "namespace": "shop"}, "status": [KEY]},
    {"metadata": {"name": "a", "namespace": "shop"}, "status": {"conditions": KEY}},
    {"metadata": {"name": "a", "namespace": "shop"}, "status": {"conditions": [KEY]}},
    {"metadata": {"name": "a", "namespace": "shop"}, "spec": [KEY]},
    {"metadata": {"name": "a", "namespace": "shop"}, "data": [KEY]},
    {"metadata": {"name": "a"}},
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("kind", ["Secret", "ServiceIdentity"])
def test_object_of_an_odd_form_is_rejected_without_quoting_it(
    tmp_path: Path, odd: dict[str, Any], kind: str
) -> None:
    file = tmp_path / "backup.json"
    metadata = odd["metadata"] | {"labels": {MANAGED_BY: "troth"}}
    file.write_text(json.dumps({"items": [odd | {"kind": kind, "metadata": metadata}]}))
    ended = troth("restore", "-f", str(file), "--kubeconfig", "missing")
    assert (ended.code, ended.errors) == (2, f"{file}: {FORM}\n")


def test_denied_restore_names_the_value_to_set_and_quotes_no_secret() -> None:
    message = (
        f"secrets \"a\" is forbidden: ValidatingAdmissionPolicy 'troth-owned-objects' with binding "
        f"'troth-owned-objects' denied request: {KEY}"
    )
    denied = refusal("Secret", ApiError(403, "Forbidden", message))
    assert "admissionPolicy.exemptUsers" in denied
    assert KEY not in denied
    assert KEY not in refusal("Secret", ApiError(422, "Invalid", KEY))
    assert refusal("ConfigMap", ApiError(422, "Invalid", "too long")).endswith(": too long")


def test_foreign_objects_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    foreign = {"kind": "Secret", "metadata": {"name": "a", "namespace": "shop"}, "data": {"k": KEY}}
    file.write_text(json.dumps({"items": [builders.identity("payments"), foreign]}))
    with pytest.raises(FaultyManifests) as caught:
        read([file])
    assert [each.subject for each in caught.value.faults] == ["Secret shop/a"]
    assert KEY not in str(caught.value)


def test_namespaces_of_nothing_else_are_not_restored(tmp_path: Path) -> None:
    file = tmp_path / "backup.json"
    spaces = [builders.namespace(name) for name in ("shop", "foreign")]
    file.write_text(json.dumps({"items": [*spaces, builders.identity("payments")]}))
    kept = [(each["kind"], each["metadata"]["name"]) for each in read([file])]
    assert kept == [("Namespace", "shop"), ("ServiceIdentity", "payments")]
