"""No input makes `troth check` fail: bytes, YAML, manifests with odd values, kubeconfigs."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.changed_manifests import changed
from tests.cli.running import Ended, troth
from tests.cli.shop import SHOP
from tests.resources.test_sentences import EVERY_BASE, ODD, PLACES
from troth.cli.exit_codes import ExitCode
from troth.resources.manifests import dump

SOME = settings(max_examples=30, deadline=None)
FEW = settings(max_examples=15, deadline=None)


def told(ended: Ended) -> None:
    """Assert that a command ended with an answer, and not with a traceback."""
    assert ended.code in (ExitCode.CLEAN, ExitCode.FINDINGS, ExitCode.UNUSABLE_INPUT), ended
    assert "Traceback" not in ended.output + ended.errors
    assert "internal error" not in ended.output + ended.errors


def mutilated() -> st.SearchStrategy[bytes]:
    """Draw a manifest with a part that was replaced by other bytes."""
    text = SHOP.encode()
    return st.builds(
        lambda at, length, put: text[:at] + put + text[at + length :],
        st.integers(0, len(text)),
        st.integers(0, 30),
        st.binary(max_size=12)
        | st.sampled_from([b"\xff\xfe", b"\t", b"---\n", b"*a", b"&a ", b"{{"]),
    )


@SOME
@given(st.binary(max_size=80) | mutilated())
def test_no_bytes_make_it_fail(raw: bytes) -> None:
    told(troth("check", "-f", "-", given=raw))


@SOME
@given(mutilated(), st.sampled_from(["utf-16", "utf-32", "latin-1", "utf-8-sig", "cp037"]))
def test_no_encoding_makes_it_fail(raw: bytes, encoding: str) -> None:
    told(troth("check", "-f", "-", given=raw.decode("latin-1").encode(encoding, "replace")))


KEYS = st.sampled_from(
    ["apiVersion", "kind", "metadata", "spec", "status", "items", "name", "namespace", "labels"]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)


@SOME
@given(
    st.sampled_from(
        ["v1", "troth.dev/v1alpha1", "troth.dev/v2", "troth.io/v1", "apps/v1", 7, None]
    ),
    st.sampled_from(
        ["Namespace", "Service", "ConfigMap", "ServiceIdentity", "TrustDomain", "List"]
    ),
    TREES,
    TREES,
)
def test_no_object_makes_it_fail(version: Any, kind: str, metadata: Any, more: Any) -> None:
    manifest = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": more}
    manifest |= more if isinstance(more, dict) else {}
    text = yaml.dump(manifest, Dumper=yaml.SafeDumper)
    told(troth("check", "-f", "-", given=f"{text}---\n{SHOP}".encode()))


@FEW
@given(st.sampled_from(PLACES), ODD)
def test_no_value_of_a_field_makes_it_fail(place: tuple[int, str], value: Any) -> None:
    number, path = place
    given = f"{dump(changed(EVERY_BASE[number], path, value))}---\n{SHOP}"
    told(troth("check", "-f", "-", given=given.encode("utf-8", "replace")))


CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "here",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
    "users": [{"name": "u", "user": {"token": "hunter2"}}],
}
CONFIG_PLACES = [
    "current-context",
    "clusters",
    "clusters.0",
    "clusters.0.name",
    "clusters.0.cluster",
    "clusters.0.cluster.server",
    "clusters.0.cluster.certificate-authority",
    "clusters.0.cluster.certificate-authority-data",
    "clusters.0.cluster.insecure-skip-tls-verify",
    "clusters.0.cluster.proxy-url",
    "contexts",
    "contexts.0.context",
    "contexts.0.context.cluster",
    "contexts.0.context.namespace",
    "users.0.user",
    "users.0.user.token",
    "users.0.user.tokenFile",
    "users.0.user.client-certificate-data",
    "users.0.user.client-key-data",
]
VALUES = ODD | st.sampled_from(
    ["http://[", "https://127.0.0.1:99999", "ftp://x", "::::", "bm90IGEgY2VydA==", "/nowhere", "é"]
)


@FEW
@given(st.sampled_from(CONFIG_PLACES), VALUES)
def test_no_kubeconfig_makes_it_fail(path: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kubeconfig")
        file.write_text(yaml.safe_dump(changed(CONFIG, path, value)))
        ended = troth("check", "-f", "-", "--kubeconfig", str(file), given=SHOP.encode())
    told(ended)
    assert ended.code == ExitCode.UNUSABLE_INPUT
    assert "hunter2" not in ended.errors + ended.output


@SOME
@given(st.binary(max_size=60))
def test_no_bytes_in_a_kubeconfig_make_it_fail(raw: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "kubeconfig")
        file.write_bytes(raw)
        ended = troth("check", "-f", "-", "--kubeconfig", str(file), given=SHOP.encode())
    told(ended)
    assert ended.code == ExitCode.UNUSABLE_INPUT


@pytest.mark.parametrize(
    "path", ["nowhere", "a\0b", "/proc/self/mem", "/dev/null", "/root/é\udcff"]
)
def test_no_path_makes_it_fail(path: str) -> None:
    told(troth("check", "-f", path))
