"""Components of a node, tested without a node."""

import base64
import io
import json
import tarfile
import threading
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxError, Tier, unavailable
from sandbox.node import tiers
from sandbox.node.images import Image
from sandbox.node.podspec import NotYetError
from sandbox.node.projection import Directory, Sources


def test_reader_never_sees_a_partial_update(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "identity")
    directory.write({"tls.crt": b"0", "tls.key": b"0"})
    torn = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                data = (tmp_path / "identity" / "..data").resolve(strict=True)
                pair = (data / "tls.crt").read_bytes(), (data / "tls.key").read_bytes()
            except FileNotFoundError:
                continue  # replaced between the two reads: read again
            if pair[0] != pair[1]:
                torn.append(pair)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        text = str(number).encode()
        directory.write({"tls.crt": text, "tls.key": text})
    done.set()
    reader.join()
    assert not torn


def test_files_removed_from_the_secret_are_deleted(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    directory.write({"a": b"1", "b": b"2"})
    directory.write({"b": b"3"})
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith("..")} == {"b"}
    assert (tmp_path / "b").read_bytes() == b"3"
    directories = [path.name for path in tmp_path.glob("..*") if path.name != "..data"]
    assert len(directories) == 1  # all earlier directories are removed


def test_unchanged_files_are_not_written(tmp_path: Path) -> None:
    directory = Directory(tmp_path)
    assert directory.write({"a": b"1"})
    assert not directory.write({"a": b"1"})


def test_missing_secret_is_named_unless_it_is_optional() -> None:
    sources = Sources()
    with pytest.raises(NotYetError, match='secret "shop/orders" not found'):
        sources.payload("secret", "shop", "orders", {})
    assert sources.payload("secret", "shop", "orders", {"optional": True}) == {}


def test_items_choose_keys_and_name_files() -> None:
    sources = Sources()
    data = {"tls.crt": base64.b64encode(b"it").decode(), "other": ""}
    metadata = {"namespace": "shop", "name": "orders"}
    sources.keep("secret", {"metadata": metadata, "data": data})
    items = {"items": [{"key": "tls.crt", "path": "certs/leaf.pem"}]}
    assert sources.payload("secret", "shop", "orders", items) == {"certs/leaf.pem": b"it"}


def test_image_archive_has_containerds_format(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"#!")
    image = Image("example.test/it:1", {"/bin/it": tmp_path / "program"}, ("/bin/it",))
    image.write_archive(tmp_path / "it.tar")
    with tarfile.open(tmp_path / "it.tar") as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive}
        (manifest,) = json.load(files["manifest.json"])  # type: ignore[arg-type]
        assert manifest["RepoTags"] == ["example.test/it:1"]
        layer = files[manifest["Layers"][0]].read()  # type: ignore[union-attr]
        config = json.load(files[manifest["Config"]])  # type: ignore[arg-type]
    assert config["config"]["Entrypoint"] == ["/bin/it"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as content:
        assert content.getmember("bin/it").mode == 0o755


def test_node_requires_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert unavailable(Tier.CONTROL_PLANE) is None
    reason = unavailable(Tier.NODE)
    assert reason
    assert "root" in reason
    with pytest.raises(SandboxError, match="needs root"):
        Sandbox.start(tmp_path / "sandbox", tier=Tier.NODE).__enter__()
    assert not (tmp_path / "sandbox").exists()


def test_missing_part_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"unshare", "ip", "mount", "xtables-nft-multi", "ipset", "runc"}
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("shutil.which", lambda name, **_: name if name in here else None)
    monkeypatch.setattr(tiers, "_refusal_of_namespaces", str)
    assert unavailable(Tier.PROCESS_PODS) is None
    assert unavailable(Tier.NODE) == (
        "a node needs packages that are not to be had: there is no containerd, "
        "containerd-shim-runc-v2, ctr, and no apt-get to fetch it with"
    )
