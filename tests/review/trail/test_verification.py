"""Whatever somebody does to the lines of a log is found, and what collectors do to them is not."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.edge.events.trade import NOW, leaf
from tests.edge.mounts import workload
from tests.pki.builders import own_root
from tests.review.trail.scene import (
    DECISIONS,
    HEAD,
    REVIEW,
    WORKER,
    ConfigMaps,
    Output,
    Worker,
    appended,
    bundles,
)
from tests.strategies import more
from tests.virtual_time import run
from troth.edge.events.seal.signer import CurrentSigner, Signer
from troth.pki.bundles.spiffe_bundle import (
    SPIFFEBundle,
    bundle_document,
    bundle_map_document,
    parse_bundle_map,
)
from troth.review.trail.decisions import Refused
from troth.review.trail.entry import Entry, read, write
from troth.review.trail.head import Head, parse
from troth.review.trail.lines import entries_in
from troth.review.trail.verification import Problem, Report, Verifier, merged


@cache
def made() -> tuple[tuple[str, ...], Head]:
    """Return the lines of a log, and its head."""
    with TemporaryDirectory() as path:
        server, output = ConfigMaps(), Output()
        run(appended(Worker(Path(path)).log(server, output), *DECISIONS))
        assert server.stored is not None
        return tuple(output.lines), parse(server.stored)


def sound() -> list[str]:
    return list(made()[0])


def report(
    lines: Sequence[str],
    *,
    head: bool = True,
    worker: str | None = WORKER,
    trusted: dict[str, SPIFFEBundle] | None = None,
    first: int = 1,
) -> Report:
    verifier = Verifier(trusted or bundles(), worker=worker, first=first)
    for number, line in enumerate(lines):
        verifier.take(line, f"log:{number + 1}")
    return verifier.report(made()[1] if head else None, f"ConfigMap {HEAD}")


def problems(found: Report) -> list[tuple[Problem, str]]:
    return [(each.problem, each.place) for each in found.faults]


def signer_of(spiffe_id: str = WORKER, **options: object) -> Signer:
    with TemporaryDirectory() as path:
        worker = Worker(Path(path))
        worker.issue(leaf(spiffe_id, **options), spiffe_id=spiffe_id)  # type: ignore[arg-type]
        return CurrentSigner().signer(worker.identity().current)


def forged(
    like: str,
    *,
    signer: Signer | None = None,
    worker: str = WORKER,
    now: float = NOW,
    ahead: int = 0,
) -> str:
    """Return another entry with the number of a line, or of a later one."""
    entry = read(like)
    made = write(
        Refused(REVIEW, "Forged"),
        log=entry.log,
        sequence=entry.sequence + ahead,
        previous=entry.hash if ahead else entry.previous,
        now=int(now),
        worker=worker,
        signer=signer or signer_of(at=NOW - 60),
    )
    return made.line


def test_untouched_log_has_no_fault() -> None:
    found = report(sound())
    assert found.faults == ()
    assert (found.first, found.last, found.worker) == (1, len(DECISIONS) + 1, WORKER)
    assert found.decisions["Settled"] == 2


def test_deleted_line_is_missing() -> None:
    lines = sound()
    del lines[4]
    assert problems(report(lines)) == [(Problem.MISSING, "log:5")]


def test_deleted_beginning_is_missing() -> None:
    assert problems(report(sound()[2:])) == [(Problem.MISSING, "log:1")]


def test_log_may_begin_later_if_that_is_said() -> None:
    assert report(sound()[2:], first=3).faults == ()


def test_deleted_end_is_found_with_the_head_alone() -> None:
    assert problems(report(sound()[:-1])) == [(Problem.TRUNCATED, f"ConfigMap {HEAD}")]
    assert report(sound()[:-1], head=False).faults == ()


def test_edited_line_is_reported_and_missing() -> None:
    lines = sound()
    lines[4] = lines[4].replace("Redriven", "Discarded")
    assert problems(report(lines)) == [
        (Problem.SIGNATURE_INVALID, "log:5"),
        (Problem.MISSING, "log:6"),
    ]


def test_swapped_lines_are_out_of_order() -> None:
    lines = sound()
    lines[3], lines[4] = lines[4], lines[3]
    assert problems(report(lines)) == [(Problem.OUT_OF_ORDER, "log:5")]


def test_entry_by_another_workload_is_foreign() -> None:
    stranger = workload("stranger")
    lines = sound()
    lines.insert(5, forged(lines[5], signer=signer_of(stranger), worker=stranger))
    assert problems(report(lines)) == [(Problem.FOREIGN_SIGNER, "log:6")]


def test_entry_that_claims_another_worker_is_foreign() -> None:
    lines = sound()
    lines.insert(5, forged(lines[5], signer=signer_of(workload("stranger"))))
    assert problems(report(lines)) == [(Problem.FOREIGN_SIGNER, "log:6")]


def test_entry_of_the_worker_that_names_another_is_foreign() -> None:
    lines = sound()
    lines.insert(6, forged(lines[5], worker=workload("stranger")))
    assert problems(report(lines)) == [(Problem.FOREIGN_SIGNER, "log:7")]


def test_second_content_of_a_number_is_a_conflict_even_with_the_key_of_the_worker() -> None:
    lines = sound()
    lines.insert(6, forged(lines[5]))
    assert problems(report(lines)) == [(Problem.CONFLICT, "log:7")]


def test_replaced_entry_breaks_the_chain_even_with_the_key_of_the_worker() -> None:
    lines = sound()
    lines[5] = forged(lines[5])
    assert problems(report(lines, head=False)) == [(Problem.NOT_LINKED, "log:7")]


def test_entry_behind_the_head_is_found() -> None:
    lines = sound()
    lines.append(forged(lines[-1], ahead=1))
    assert problems(report(lines)) == [(Problem.HEAD_DIFFERS, f"ConfigMap {HEAD}")]


def test_replaced_last_entry_differs_from_the_head() -> None:
    lines = sound()
    lines[-1] = forged(lines[-1])
    assert problems(report(lines)) == [(Problem.HEAD_DIFFERS, f"ConfigMap {HEAD}")]


def test_entry_with_an_old_key_goes_back_in_time() -> None:
    lines = sound()
    old = signer_of(at=NOW - 3 * 86400)
    lines.append(forged(lines[-1], signer=old, now=NOW - 3 * 86400 + 60, ahead=1))
    assert problems(report(lines, head=False)) == [(Problem.TIME_REVERSED, "log:11")]


def test_certificate_must_be_valid_at_the_time_of_the_entry() -> None:
    lines = sound()
    lines[-1] = forged(lines[-1], signer=signer_of(at=NOW - 3 * 86400))
    assert problems(report(lines, head=False)) == [(Problem.CERTIFICATE_INVALID, "log:10")]


def test_certificate_of_an_unknown_root_is_invalid() -> None:
    lines = sound()
    other = own_root(which="nobody's", now=datetime.fromtimestamp(NOW, UTC) - timedelta(days=1))
    lines[-1] = forged(lines[-1], signer=signer_of(authority=other))
    assert problems(report(lines, head=False)) == [(Problem.CERTIFICATE_INVALID, "log:10")]


def test_second_log_is_reported_once(tmp_path: Path) -> None:
    server, output = ConfigMaps(), Output()
    run(appended(Worker(tmp_path).log(server, output), *DECISIONS[:2]))
    assert problems(report([*sound(), *output.lines])) == [(Problem.ANOTHER_LOG, "log:11")]


def test_head_of_another_log_differs(tmp_path: Path) -> None:
    server, output = ConfigMaps(), Output()
    run(appended(Worker(tmp_path).log(server, output), *DECISIONS[:2]))
    assert problems(report(output.lines)) == [(Problem.HEAD_DIFFERS, f"ConfigMap {HEAD}")]


def test_input_without_an_entry_is_reported() -> None:
    assert problems(report(["hello", "{}"], head=False)) == [(Problem.NO_ENTRIES, "")]


def test_first_signer_is_the_worker_if_none_is_named() -> None:
    assert report(sound(), worker=None).worker == WORKER
    assert problems(report(sound(), worker=workload("other")))[0][0] is Problem.FOREIGN_SIGNER


def test_line_that_a_crash_cut_is_no_fault_if_it_follows_in_full() -> None:
    lines = sound()
    for cut in range(30, len(lines[3]) - 1, 97):
        torn = [*lines[:3], lines[3][:cut], *lines[3:]]
        glued = [*lines[:3], lines[3][:cut] + lines[3], *lines[4:]]
        for each in (report(torn), report(glued)):
            assert (each.faults, each.torn) == ((), 1)


def test_cut_line_that_does_not_follow_in_full_is_unreadable() -> None:
    lines = sound()
    lines[3] = lines[3][:-100]
    assert problems(report(lines)) == [(Problem.UNREADABLE, "log:4"), (Problem.MISSING, "log:5")]


def test_only_the_last_cut_lines_are_compared_with_those_that_follow() -> None:
    lines = sound()
    hostile = ['{"troth.dev/audit":{"entry":1}}'] * 2_000
    found = report([*lines[:3], *hostile, lines[3][:100], *lines[3:]])
    assert (found.torn, found.entries) == (1, len(lines))
    assert Counter(problems(found)).keys() == {
        (Problem.UNREADABLE, f"log:{number}") for number in range(4, 2_004)
    }
    found = report([*lines[:3], lines[3][:100], *hostile, *lines[3:]])
    assert (found.torn, found.entries) == (0, len(lines))
    assert (Problem.UNREADABLE, "log:4") in problems(found)


def test_repeated_lines_are_counted_and_are_no_fault() -> None:
    lines = sound()
    found = report([*lines[:6], *lines[2:]])
    assert (found.faults, found.repeated) == ((), 4)


def _timestamped(line: str) -> str:
    return f"2026-11-28T12:00:00.123456789Z {line}"


def _cri(line: str) -> str:
    return f"2026-11-28T12:00:00.123456789+00:00 stdout F {line}"


def _docker(line: str) -> str:
    return json.dumps({"log": f"{line}\n", "stream": "stdout", "time": "2026-11-28T12:00:00Z"})


def _member(line: str) -> str:
    merged = {"date": 1795867200.25, **json.loads(line), "kubernetes": {"pod": "review-0"}}
    return json.dumps(merged, indent=None)


def _spaced(line: str) -> str:
    return json.dumps(json.loads(line), indent=1).replace("\n", " ")


def _nested(line: str) -> str:
    return json.dumps({"kubernetes": {"pod": "a"}, "message": json.loads(line)})


def _prefixed(line: str) -> str:
    return f"[pod/troth-review-0/review] {line}"


def _lines_between(line: str) -> str:
    return f'{line}\n{{"event":"review completed"}}'


@pytest.mark.parametrize(
    "collected",
    [_timestamped, _cri, _docker, _member, _spaced, _nested, _prefixed, _lines_between],
)
def test_lines_verify_as_collectors_write_them(collected: Callable[[str], str]) -> None:
    lines = "\n".join(map(collected, sound())).splitlines()
    found = report(lines)
    assert (found.faults, found.entries) == ((), len(sound()))
    lines = "\n".join(map(collected, sound()[:4] + sound()[5:])).splitlines()
    assert [each.problem for each in report(lines).faults] == [Problem.MISSING]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "troth.dev/audit",
        '{"troth.dev/audit"',
        '{"troth.dev/audit":',
        '{"troth.dev/audit":' + "[" * 10_000,
        '{"troth.dev/audit":' * 5_000,
        '{"troth.dev/audit":1}',
        '{"troth.dev/audit":{"entry":{},"signature":""}}',
        '{"troth.dev/audit":{"entry":{"sequence":true},"signature":""}}',
        '{"troth.dev/audit":"' + "a" * 300_000,
        '{"log":"{\\"troth.dev/audit\\":"}',
        '{"log":"\\ud800troth.dev/audit"}',
        "\udcff troth.dev/audit",
        '{"troth.dev/audit":"\udcff"}',
    ],
)
def test_hostile_line_is_no_entry_and_ends_nothing(line: str) -> None:
    assert not [each for each in entries_in(line) if isinstance(each, Entry)]
    assert report([line, *sound()]).entries == len(sound())


LINES = st.integers(0, len(DECISIONS))
# An edited certificate may have a serial number that `cryptography` warns of.
EDITED = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")


@EDITED
@given(LINES, st.data())
@more(5)
def test_any_edit_of_a_character_is_found(number: int, data: st.DataObject) -> None:
    lines = sound()
    line = lines[number]
    place = data.draw(st.integers(0, len(line) - 1))
    character = data.draw(st.characters(codec="utf-8"))
    assume(character != line[place])
    lines[number] = line[:place] + character + line[place + 1 :]
    assert report("\n".join(lines).splitlines()).faults


@EDITED
@given(LINES, st.data())
@more(2)
def test_any_deletion_of_characters_is_found(number: int, data: st.DataObject) -> None:
    lines = sound()
    line = lines[number]
    begin = data.draw(st.integers(0, len(line) - 1))
    end = data.draw(st.integers(begin + 1, len(line)))
    lines[number] = line[:begin] + line[end:]
    assert report(lines).faults


@given(st.sets(LINES, min_size=1))
@more(2)
def test_any_deletion_of_lines_is_found(deleted: set[int]) -> None:
    assert report([line for n, line in enumerate(sound()) if n not in deleted]).faults


@given(st.permutations(range(len(DECISIONS) + 1)))
@more(2)
def test_any_other_order_is_found(order: Sequence[int]) -> None:
    assume(list(order) != sorted(order))
    lines = sound()
    assert report([lines[each] for each in order]).faults


@given(LINES, LINES, st.integers(0, 3), st.sampled_from(["own", "old", "other"]))
@more(2)
def test_any_insertion_of_an_entry_is_found(at: int, like: int, ahead: int, key: str) -> None:
    lines = sound()
    lines.insert(at, forged(lines[like], signer=_signers()[key], ahead=ahead))
    assert report(lines).faults


@cache
def _signers() -> dict[str, Signer]:
    return {
        "own": signer_of(at=NOW - 60),
        "old": signer_of(at=NOW - 3 * 86400),
        "other": signer_of(workload("other")),
    }


def test_root_that_was_retired_before_the_entry_does_not_vouch_for_it() -> None:
    first, *_ = _retired(NOW - 86400).faults
    assert first.problem is Problem.CERTIFICATE_INVALID
    assert _retired(NOW + 60).faults == ()


def _retired(at: float) -> Report:
    return report(sound(), trusted=_without_root(at))


def _without_root(at: float) -> dict[str, SPIFFEBundle]:
    moment = datetime.fromtimestamp(at, UTC)
    domain = WORKER.split("/")[2]
    anchors = b"".join(bundles()[domain].x509_authorities)
    document = bundle_document([], [], retired_authorities=[(anchors, moment)])
    return parse_bundle_map(json.dumps(bundle_map_document({domain: document})))


def test_bundles_of_several_times_are_one() -> None:
    domain = WORKER.split("/")[2]
    renewed = {domain: SPIFFEBundle(domain, (), {})}
    assert report(sound(), trusted=renewed).entries == 0
    assert report(sound(), trusted=merged([renewed, bundles()])).faults == ()


def test_older_bundle_does_not_bring_back_a_retired_root() -> None:
    found = report(sound(), trusted=merged([bundles(), _without_root(NOW - 86400)]))
    assert found.entries == 0


def test_entry_reads_as_it_was_written() -> None:
    for line in sound():
        assert read(line).line == line


def test_no_entry_has_more_of_a_letter_than_its_id_and_digest() -> None:
    letter = read(sound()[4]).members["letters"][0]
    assert letter.keys() == {"id", "digest", "outcome"}
