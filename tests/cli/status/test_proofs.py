"""Proofs in `troth status`."""

import io

from rich.console import Console

from tests.builders import HOUR, NOW, Manifest, stamp
from tests.cli.status.test_overview import CLUSTER, PAYMENTS, shown
from troth.cli.output import WIDTH
from troth.cli.status.models import identity_summary
from troth.cli.status.render import show
from troth.cli.status.report import Report


def proof(result: str = "Proven", **changed: str) -> Manifest:
    return {
        "peer": "shop/checkout",
        "port": "https",
        "probe": "DeclaredEdge",
        "expectation": "Passes",
        "result": result,
        "layer": "Network",
        "provenAt": stamp(NOW - 3 * HOUR),
        "evidence": "the connection opened",
    } | changed


def with_proofs(*proofs: Manifest) -> Manifest:
    return PAYMENTS | {"status": {**PAYMENTS["status"], "proofs": list(proofs)}}


DISPROOF = proof("Disproven", probe="UndeclaredEdge", peer="shop/web")


def detail(*proofs: Manifest) -> str:
    output = io.StringIO()
    report = Report(
        trust_domains=(),
        credential_rotations=(),
        service_identities=(identity_summary(with_proofs(*proofs)),),
        hidden=(),
    )
    show(Console(file=output, width=WIDTH), report, NOW, single=True, whole=False)
    return output.getvalue()


def test_identity_shows_how_many_proofs_there_are_and_what_is_disproven() -> None:
    text = detail(proof(), proof(), proof("Inconclusive"), DISPROOF)
    assert "proofs: 2 Proven, 1 Disproven, 1 Inconclusive; the oldest was made 3h ago" in text
    assert "disproven: UndeclaredEdge as shop/web on https at Network: the connection opened" in (
        " ".join(text.split())
    )


def test_identity_without_proofs_shows_none() -> None:
    assert "proofs" not in detail()


def test_overview_names_what_is_disproven() -> None:
    found = {**CLUSTER, "ServiceIdentity": [with_proofs(proof(), DISPROOF)]}
    lines = shown(found)
    place = lines.index("Disproven  1")
    assert lines[place + 1] == (
        "  shop/web → shop/payments:https  UndeclaredEdge: the connection opened"
    )
    assert not [line for line in shown(CLUSTER) if line.startswith("Disproven")]


def test_disproven_identity_is_listed_although_it_is_ready() -> None:
    assert not identity_summary(with_proofs(proof())).deserves_a_look
    assert identity_summary(with_proofs(DISPROOF)).deserves_a_look


def test_hostile_proof_is_shown_as_one_line() -> None:
    text = detail(proof("Disproven", evidence="\x1b[2J\nall is well"))
    assert "\x1b" not in text
    assert "\nall is well" not in text


def test_proofs_of_another_version_are_read() -> None:
    strange = {"result": "Perhaps", "provenAt": stamp(NOW)}
    assert "proofs: 0 Proven" in detail(strange)
