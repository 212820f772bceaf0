"""The audit benchmark measures a cluster in which rules find what was put there."""

import json

import pytest

from benchmarks.audit import cluster as bench
from troth.audit.evaluation import Evaluator
from troth.audit.scene import Scene


def test_only_policies_that_widen_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PODS": 200, "IDENTITIES": 40, "POLICIES": 20, "NAMESPACES": 4}.items():
        monkeypatch.setattr(bench, name, value)
    scene = Scene(now=bench.NOW, in_cluster=True)
    for each in bench.cluster():
        scene.put(json.loads(each))
    found = Evaluator().evaluate(scene).findings
    widening = {f"before-{number}" for number in range(0, 20, 5)}
    assert {(each.rule, each.subject.ref.name) for each in found} == {
        ("TR602", name) for name in widening
    }
