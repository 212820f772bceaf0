"""Events, judged in three languages: Troth, Go and Java agree on each verdict and its reason."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from tests.edge.events.vectors import committed
from tests.judges.event_drafts import Draft, document, drafts
from tests.judges.event_judges import EventJudge, Verdict, by_troth, in_go, in_java
from tests.judges.tools import Tool
from troth.edge.events.seal.envelope import read, signed_bytes
from website.event_vectors import scene, seal_vectors
from website.event_vectors.certificates import Made
from website.event_vectors.events import event

COMMITTED = committed()


@pytest.fixture(scope="module")
def go() -> EventJudge:
    return in_go()


@pytest.fixture(scope="module")
def java_judge(java: Tool, tmp_path_factory: pytest.TempPathFactory) -> EventJudge:
    return in_java(java, tmp_path_factory.mktemp("classes"))


def expected() -> dict[str, Verdict]:
    return {
        each["name"]: Verdict(each["verdict"], each.get("event")) for each in COMMITTED["vectors"]
    }


def test_verifier_in_go_agrees_on_all_vectors(go: EventJudge) -> None:
    assert go.judge(COMMITTED) == expected()


def test_verifier_in_java_agrees_on_all_vectors(java_judge: EventJudge) -> None:
    assert java_judge.judge(COMMITTED) == expected()


def test_three_verifiers_agree_on_edited_events(go: EventJudge, java_judge: EventJudge) -> None:
    """One batch, because each judge is a process; a draft that divides them is shown whole."""
    messages, asked, by_python = edited()
    by_go, by_java = go.judge(asked), java_judge.judge(asked)
    assert by_java == by_go
    divided = {
        name: (by_python[name], each.verdict, messages[int(name)])
        for name, each in by_go.items()
        if each.verdict != by_python[name]
    }
    assert not divided


def test_edited_events_fail_many_checks() -> None:
    _, _, by_python = edited()
    found = Counter(by_python.values())
    assert found["Accepted"] > 0
    assert len(found) > 8


@cache
def edited() -> tuple[list[Draft], dict[str, Any], dict[str, str]]:
    """Return drafts that Hypothesis draws, with new ones in each run, and Troth's verdicts."""
    messages: list[Draft] = []

    @settings(max_examples=300, deadline=None, database=None, phases=[Phase.generate])
    @given(drafts())
    def draw(draft: Draft) -> None:
        messages.append(draft)

    draw()
    asked = document(messages)
    return messages, asked, by_troth(asked)


@pytest.mark.parametrize(
    ("by", "options"),
    [
        pytest.param(scene.PRODUCER, ["-sha256"], id="p256"),
        pytest.param(seal_vectors.LEAVES["p384"], ["-sha384"], id="p384"),
        pytest.param(
            seal_vectors.LEAVES["rsa-2048"],
            [
                "-sha256",
                *("-sigopt", "rsa_padding_mode:pss"),
                *("-sigopt", "rsa_pss_saltlen:32"),
                *("-sigopt", "rsa_mgf1_md:sha256"),
            ],
            id="rsa",
        ),
    ],
)
def test_openssl_verifies_the_signature_of_a_vector(
    tmp_path: Path, openssl: Tool, by: Made, options: list[str]
) -> None:
    seal = read(event(by).attributes["dssematerial"])
    files = {
        "leaf.der": by.der,
        "signature": seal.signature,
        "signed": signed_bytes(seal.payload),
        "edited": signed_bytes(seal.payload) + b" ",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    key = tmp_path / "key.pem"
    leaf = tmp_path / "leaf.der"
    assert openssl("x509", "-inform", "DER", "-in", leaf, "-noout", "-pubkey", "-out", key)[0]

    def verifies(file: str) -> tuple[bool, str]:
        proof = ("-verify", key, "-signature", tmp_path / "signature", tmp_path / file)
        return openssl("dgst", *options, *proof)

    assert verifies("signed") == (True, "Verified OK\n")
    assert not verifies("edited")[0]
