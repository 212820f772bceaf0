"""Inputs of somebody else's making, such as a pull request: bounded, and only files of theirs."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.builders import identity
from tests.cli.running import troth
from troth.cli.audit import manifests
from troth.cli.inputs import documents, files, sources
from troth.cli.inputs.documents import ValueCount, read_stream
from troth.cli.inputs.files import read_files
from troth.resources.faults import MAX_FAULTS, FaultyManifests, path, place_in
from troth.resources.manifests import ManifestLoader, dump, parse_resource
from troth.resources.quoting import quoted

SECRET = "a value outside"
OUTSIDE = f"kind: {SECRET}\nmetadata: {{name: [1]}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text(OUTSIDE)
    return folder


def told(*paths: Path) -> list[str]:
    """Return what is read of each file: its text, or what is wrong."""
    return [str(text) for _, text in read_files(paths)]


# Sizes


def complaint(text: str, count: ValueCount | None = None) -> str:
    found, faults = read_stream(text, "x.yaml", count)
    assert found == []
    (fault,) = faults
    return str(fault)


def composed(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """Yield each node that PyYAML begins to compose."""
    nodes: list[object] = []
    compose = ManifestLoader.compose_node

    def counted(self: object, parent: object, index: object) -> object:
        nodes.append(index)
        return compose(self, parent, index)  # type: ignore[arg-type]

    monkeypatch.setattr(ManifestLoader, "compose_node", counted)
    return iter(nodes)


def test_large_document_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENT_VALUES", 1000)
    nodes = composed(monkeypatch)
    text = f"kind: X\na:\n- 1\n- [{'1,' * 100_000}]\n"
    assert complaint(text) == (
        "x.yaml:4: larger than 1000 values, aliases included; split the file"
    )
    assert len(list(nodes)) <= 1000


def test_values_of_all_files_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_VALUES", 20)
    nodes = composed(monkeypatch)
    text = "kind: X\nb: 1\n"
    count = ValueCount()
    for _ in range(4):
        assert read_stream(text, "x.yaml", count)[1] == []
    assert complaint(text, count) == (
        "x.yaml:1: more than 20 values in all files together; name fewer files"
    )
    assert read_stream(text, "x.yaml", count) == ([], [])  # said once
    assert len(list(nodes)) <= 21


def test_bytes_of_all_files_together_are_bounded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 2 * 1024**2)
    for name in "abcd":
        (folder / f"{name}.yaml").write_bytes(b"#" * 900_000)
    read = told(folder)
    assert [len(each) for each in read[:2]] == [900_000, 900_000]
    (fault,) = read[2:]
    assert fault == (
        f"{folder}/c.yaml: makes the input larger than 2 MiB, with the files before it; "
        "name fewer files"
    )


def test_each_item_of_a_list_has_its_own_faults() -> None:
    def listed(number: int) -> str:
        return f"- kind: X\n  {number}: 1\n"

    text = "kind: List\nitems:\n" + "".join(map(listed, range(6000)))
    read, faults = read_stream(text, "x.yaml")
    assert faults == []
    assert [[each.line for each in one.faults] for one in read] == [
        [4 + 2 * number] for number in range(6000)
    ]


def test_item_of_a_list_in_a_list_has_its_own_faults() -> None:
    text = "kind: List\nitems:\n- kind: List\n  items:\n  - kind: A\n  - kind: B\n    1: 2\n"
    read, _ = read_stream(text, "x.yaml")
    assert [(each.manifest["kind"], len(each.faults)) for each in read] == [("A", 0), ("B", 1)]


@pytest.mark.parametrize(("left", "more"), [(1, "1 more fault"), (900, "900 more faults")])
def test_number_of_faults_of_an_object_is_bounded(left: int, more: str) -> None:
    manifest = identity("payments")
    manifest["spec"] |= {f"unknown{number}": 1 for number in range(MAX_FAULTS + left)}
    with pytest.raises(FaultyManifests) as raised:
        parse_resource(manifest)
    assert len(raised.value.faults) == MAX_FAULTS + 1
    assert str(raised.value.faults[-1]) == (
        f"ServiceIdentity shop/payments: has {more}; correct the others first"
    )


def test_number_of_faults_of_an_input_is_bounded(folder: Path) -> None:
    manifest = identity("payments")
    manifest["spec"] |= {f"unknown{number}": 1 for number in range(100)}
    text = "---\n".join([dump(manifest)] * 20)
    (folder / "x.yaml").write_text(text)
    found = sources.collect([folder])
    assert documents.MAX_FAULTS < len(found.faults) <= documents.MAX_FAULTS + MAX_FAULTS + 2
    assert found.faults[-1].code == "TooManyFaults"
    ended = troth("check", "-f", str(folder))
    assert ended.code == 2
    assert "more than 1000 faults; correct these, then check again" in ended.output


@pytest.mark.parametrize("collect", [sources.collect, partial(manifests.collect, namespace="shop")])
def test_number_of_faults_of_documents_and_files_is_bounded(
    folder: Path, collect: Callable[[list[Path]], Any]
) -> None:
    for number in range(4):
        (folder / f"{number}.yaml").write_text("1\n---\n" * (documents.MAX_FAULTS // 2 - 1))
    (folder / "4.yaml").write_text("1\n---\n" * 3 * documents.MAX_FAULTS)
    for places in ([folder], [folder / "4.yaml"]):
        faults = collect(places).faults
        assert documents.MAX_FAULTS < len(faults) <= 2 * documents.MAX_FAULTS
        assert faults[-1].code == "TooManyFaults"


def test_path_of_a_fault_is_bounded() -> None:
    assert path(("spec", "labels", 3, "a.b/c")) == "spec.labels[3].a.b/c"
    assert len(path(("x" * 100_000,) * 100)) <= 1024
    assert path((0, *("x" * 100_000,) * 100)).startswith("[0].xxx")


# Files


def test_only_regular_files_are_read(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "device.yaml").symlink_to("/dev/zero")
    sentence = "not a regular file; write its content to a file, or to standard input with -f -"
    assert told(folder)[1] == f"{folder}/pipe.yaml: {sentence}"
    for given in (folder / "pipe.yaml", Path("/dev/null")):
        assert told(given) == [f"{given}: {sentence}"]


@pytest.mark.parametrize("given", [".", "link.yaml"], ids=["folder", "file"])
def test_link_out_of_the_folder_is_not_followed(folder: Path, given: str) -> None:
    (folder / "link.yaml").symlink_to("../outside.yaml")
    (fault,) = told(folder / given)
    assert fault == (
        f"{folder}/link.yaml: links to a file outside {folder}; name that file, or copy it"
    )
    ended = troth("check", "-f", str(folder / given))
    assert ended.code == 2
    assert SECRET not in ended.output


def test_relative_path_does_not_lead_out_of_the_working_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "deploy").symlink_to("..")
    (folder / "base").mkdir()
    (folder / "base" / "a.yaml").write_text("kind: A\n")
    (folder / "base" / "b.yaml").symlink_to("../b.yaml")
    (folder / "b.yaml").write_text("kind: B\n")
    (folder / "current").symlink_to("base")
    monkeypatch.chdir(folder)
    for given in ("deploy", "deploy/outside.yaml"):
        (fault,) = told(Path(given))
        assert fault.startswith(f"{given}: links to a ")
    assert told(Path("base/b.yaml")) == ["kind: B\n"]
    assert told(Path("current/a.yaml")) == ["kind: A\n"]
    assert told(Path("../outside.yaml")) == [OUTSIDE]


def test_link_within_the_folder_is_followed(folder: Path) -> None:
    """As a mounted ConfigMap has them."""
    (folder / "..2026").mkdir()
    (folder / "..2026" / "shop.yaml").write_text("kind: A\n")
    (folder / "..data").symlink_to("..2026")
    (folder / "shop.yaml").symlink_to("..data/shop.yaml")
    assert told(folder) == ["kind: A\n"]
    assert told(folder / "shop.yaml") == ["kind: A\n"]


# Workflow commands of GitHub, which a runner finds in all that a step prints


@pytest.mark.parametrize("output", ["text", "json", "github"])
@pytest.mark.parametrize(
    "name", ["::add-mask::x.yaml", "  ::stop-commands::x.yaml", "a##[add-mask]x.yaml"]
)
def test_name_of_a_file_is_no_workflow_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, output: str
) -> None:
    (folder / name).write_text("- 1\n")
    (folder / "b.yaml").write_text('kind: TrustDomain\napiVersion: "##[add-mask]b"\n')
    monkeypatch.chdir(folder)
    for given in (".", name):
        ended = troth("check", "-f", given, "-f", "b.yaml", "-o", output)
        assert ended.code == 2
        own = ("::error ", "::warning ") if output == "github" else ()
        lines = [each for each in ended.output.splitlines() if not each.startswith(own)]
        assert not [each for each in lines if each.lstrip().startswith("::") or "##[" in each]


def test_error_about_a_file_is_no_workflow_command() -> None:
    ended = troth("token", "verify", "-f", "::add-mask::x")
    assert not [each for each in ended.errors.splitlines() if each.lstrip().startswith("::")]


def test_place_of_a_usual_file_is_its_name() -> None:
    assert place_in("a/b.yaml", 3) == "a/b.yaml:3"
    assert place_in("<stdin>", 0) == "<stdin>"
    assert place_in("", 3) == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::add-mask::x", r"\x3a:add-mask::x"),
        ("see ::stop-commands::x", r"see \x3a:stop-commands::x"),
        ("a ##[add-mask]x", r"a ##\x5badd-mask]x"),
        ("::1 ::ffff:192.0.2.1 ::/0 std::string", "::1 ::ffff:192.0.2.1 ::/0 std::string"),
    ],
)
def test_text_of_a_manifest_is_no_workflow_command(text: str, shown: str) -> None:
    assert quoted(text) == shown
