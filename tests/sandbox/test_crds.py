"""Waiting for CRDs that the API server has just stored, without a control plane."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox import Sandbox, SandboxError

NEW: dict[str, Any] = {"metadata": {"name": "new"}, "status": {"conditions": None}}
"""A CRD about which the API server has said nothing yet: it has null as its conditions."""


def crd(name: str, status: str) -> dict[str, Any]:
    conditions = [{"type": "Established", "status": status}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


class Scripted(Sandbox):
    """A cluster whose kubectl prints one answer after the other, and the last one for good."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        super().__init__(Path(), Path())
        self.answers = list(answers)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        assert (arguments[:2], stdin) == (("get", "crd"), None)
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        return json.dumps(answer)


def test_crd_without_conditions_is_awaited() -> None:
    cluster = Scripted({"metadata": {"name": "new"}}, NEW, crd("new", "False"), crd("new", "True"))
    cluster.await_crds("new")
    assert cluster.answers == [crd("new", "True")]


def test_every_crd_is_awaited() -> None:
    both = {"items": [crd("old", "True"), crd("new", "True")]}
    cluster = Scripted({"items": []}, {"items": [crd("old", "True"), NEW]}, both)
    cluster.await_crds()
    assert cluster.answers == [both]


@pytest.mark.parametrize(
    ("answer", "missing"),
    [({"items": [crd("old", "True"), NEW]}, "new"), ({"items": []}, "any CRD")],
)
def test_error_names_the_crds_that_are_not_served(answer: dict[str, Any], missing: str) -> None:
    with pytest.raises(SandboxError, match=f"does not serve {missing} after 0 s"):
        Scripted(answer).await_crds(within=0.0)
