"""`troth audit-log verify` names each fault with its place, and ends with a code that says so."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.cli.running import Ended, troth
from tests.edge.events.trade import bundle_map
from tests.edge.mounts import workload
from tests.review.trail.scene import DECISIONS, WORKER, ConfigMaps, Output, Worker, appended
from tests.virtual_time import run


@dataclass(frozen=True)
class Archive:
    """Files that somebody kept: the lines, the trust bundle, and the head."""

    lines: list[str]
    log: Path
    bundle: Path
    head: Path

    def verify(self, *options: str) -> Ended:
        return troth("audit-log", "verify", str(self.log), "--bundle", str(self.bundle), *options)

    def write(self, lines: list[str]) -> None:
        self.log.write_text("".join(f"{each}\n" for each in lines))


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    server, output = ConfigMaps(), Output()
    run(appended(Worker(tmp_path).log(server, output), *DECISIONS))
    made = Archive(
        output.lines,
        *(tmp_path / name for name in ("audit.jsonl", "events-bundle-map.json", "head.yaml")),
    )
    made.write(made.lines)
    made.bundle.write_text(json.dumps(bundle_map()))
    made.head.write_text(yaml.safe_dump(server.stored))
    return made


def test_intact_log_ends_with_zero(archive: Archive) -> None:
    ended = archive.verify("--worker", WORKER, "--head", f"@{archive.head}")
    assert (ended.code, ended.errors) == (0, "")
    assert ended.lines[-1] == "intact"
    assert "10, from 1 to 10: 1 Approved" in ended.output


def test_what_was_not_named_is_said(archive: Archive) -> None:
    ended = archive.verify()
    assert ended.code == 0
    assert ended.lines[-3:] == [
        "intact",
        "Any workload may have signed; name the worker with --worker.",
        "Entries may be missing at the end; name the head with --head.",
    ]


def test_fault_has_its_file_and_line(archive: Archive) -> None:
    lines = list(archive.lines)
    lines[4] = lines[4].replace("Redriven", "Discarded")
    archive.write(["a line of somebody else", *lines])
    ended = archive.verify("--worker", WORKER)
    assert ended.code == 1
    assert f"{archive.log}:6: SignatureInvalid: entry 5 is not what was signed" in ended.lines
    assert f"{archive.log}:7: Missing: entry 5 is missing before entry 6" in ended.lines
    assert ended.lines[-1] == "not intact: 2 faults"


def test_truncated_end_is_found_with_the_head(archive: Archive) -> None:
    archive.write(archive.lines[:-2])
    assert archive.verify().code == 0
    ended = archive.verify("--head", f"@{archive.head}")
    assert ended.code == 1
    assert (
        f"head {archive.head}: Truncated: entries 9 to 10 are missing at the end; the head has the "
        "last 2 of them"
    ) in ended.lines


def test_other_worker_is_foreign(archive: Archive) -> None:
    ended = archive.verify("--worker", workload("other"))
    assert ended.code == 1
    assert f"is signed by {WORKER}, not by {workload('other')}" in ended.output


def test_json_has_the_same(archive: Archive) -> None:
    archive.write(archive.lines[:3] + archive.lines[4:])
    ended = archive.verify("-o", "json", "--worker", WORKER)
    found = json.loads(ended.output)
    assert (ended.code, found["intact"], found["entries"], found["last"]) == (1, False, 9, 10)
    assert found["faults"] == [
        {
            "problem": "Missing",
            "place": f"{archive.log}:4",
            "sentence": "entry 4 is missing before entry 5",
            "sequence": 4,
        }
    ]


def test_log_is_read_from_standard_input(archive: Archive) -> None:
    bundle = ("--bundle", str(archive.bundle.parent))
    ended = troth("audit-log", "verify", *bundle, given=archive.log.read_bytes())
    assert ended.code == 0


def test_several_files_are_read_in_their_order(archive: Archive, tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.jsonl"
    earlier.write_text("".join(f"{each}\n" for each in archive.lines[:6]))
    archive.write(archive.lines[4:])
    bundle = ("--bundle", str(archive.bundle))
    ended = troth("audit-log", "verify", str(earlier), str(archive.log), *bundle)
    assert ended.code == 0
    assert "2 repeated" in ended.output
    assert troth("audit-log", "verify", str(archive.log), str(earlier), *bundle).code == 1


def test_empty_log_needs_attention(archive: Archive) -> None:
    archive.write(["nothing"])
    ended = archive.verify("--head", f"@{archive.head}")
    assert ended.code == 1
    assert "NoEntries: the input has no entry that counts" in ended.lines


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--worker", "reviewer"], "--worker"),
        (
            ["--head", "troth-review-audit-log"],
            "--head: write NAMESPACE/NAME of a ConfigMap, or @FILE",
        ),
        (
            ["--head", "troth-system/configmaps/head"],
            "--head: write NAMESPACE/NAME of a ConfigMap, or @FILE",
        ),
        (["--head", "@missing"], "missing: No such file or directory"),
        (["--head", "@/dev/null"], "/dev/null: not a ConfigMap with data"),
        (["--first", "0"], "--first"),
        (["--bundle", "missing"], "missing: No such file or directory"),
        (["--bundle", "/dev/null"], "/dev/null: The SPIFFE bundle is not JSON"),
    ],
)
def test_unusable_input_ends_with_two(archive: Archive, options: list[str], complaint: str) -> None:
    ended = archive.verify(*options)
    assert ended.code == 2
    assert complaint in " ".join(ended.errors.split())


def test_missing_file_is_named(archive: Archive) -> None:
    archive.log.unlink()
    ended = archive.verify()
    assert ended.code == 2
    assert f"{archive.log}: No such file or directory" in ended.errors


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["/nonexist"], "/nonexist: No such file or directory"),
        (["--head", "x"], "Invalid value for --head: write NAMESPACE/NAME of a ConfigMap"),
        (["--head", "@/nonexist"], "/nonexist: No such file or directory"),
    ],
    ids=["file", "name of the head", "file of the head"],
)
def test_arguments_are_checked_before_the_cluster(
    tmp_path: Path, arguments: list[str], complaint: str
) -> None:
    kubeconfig = ("--kubeconfig", str(tmp_path / "missing"))
    ended = troth("audit-log", "verify", *arguments, *kubeconfig)
    assert ended.code == 2
    assert complaint in " ".join(ended.errors.split())


def test_text_of_a_log_does_not_control_the_terminal(archive: Archive) -> None:
    archive.write(
        [each.replace('"decision":"Ended"', '"decision":"\x1b[31m"') for each in archive.lines]
    )
    ended = archive.verify()
    assert ended.code == 1
    assert "\x1b" not in ended.output
