"""What the demo removes from an existing cluster, without a control plane."""

import json
from pathlib import Path

from sandbox import Sandbox
from sandbox.demo.existing import objects

CRD = {"metadata": {"name": "trustdomains.troth.dev"}, "spec": {"group": "troth.dev"}}


class Scripted(Sandbox):
    """A cluster with the demo's trust domain, whose kubectl records what it is asked to do."""

    def __init__(self) -> None:
        super().__init__(Path(), Path())
        self.asked: list[tuple[str, ...]] = []

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        assert stdin is None
        self.asked.append(arguments)
        match arguments:
            case ("get", "crds", "-o", "json"):
                return json.dumps({"items": [CRD]})
            case ("get", "trustdomains", *_, "jsonpath={.items[*].metadata.uid}"):
                return "the-demos"
            case _:
                return ""


def test_events_about_other_trust_domains_stay() -> None:
    cluster = Scripted()
    assert objects.remove(cluster)
    assert [each for each in cluster.asked if "events" in each] == [
        ("delete", *objects.EVENTS, "involvedObject.uid=the-demos")
    ]
