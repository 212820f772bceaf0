"""Package, chart and site agree about the version, the addresses and the kinds."""

import re

import yaml

from tests.packaging.distributions import ROOT, project
from troth.resources.kinds import EVERY_KIND
from troth.resources.metadata import GROUP, VERSION

CHART = yaml.safe_load((ROOT / "charts" / "troth" / "Chart.yaml").read_text())
CHART_README = (ROOT / "charts" / "troth" / "README.md").read_text()


def _annotation(name: str) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = yaml.safe_load(CHART["annotations"][f"artifacthub.io/{name}"])
    return listed


def test_chart_and_package_have_one_version() -> None:
    version = project()["version"]
    assert CHART["version"] == CHART["appVersion"] == version
    assert [each["image"].rpartition(":")[2] for each in _annotation("images")] == [version]
    assert re.findall(r"charts/troth:(\S+)", CHART_README) == [version]


def test_artifact_hub_lists_every_kind() -> None:
    listed = {(each["kind"], each["version"], each["name"]) for each in _annotation("crds")}
    assert listed == {(kind.name, VERSION, f"{kind.plural}.{GROUP}") for kind in EVERY_KIND}


def test_chart_and_package_name_one_repository() -> None:
    urls = project()["urls"]
    assert CHART["home"] == urls["Repository"] == CHART["sources"][0]
    assert _annotation("links")[0]["url"] == urls["Documentation"]


def test_chart_readme_names_the_oldest_kubernetes() -> None:
    oldest = CHART["kubeVersion"].removeprefix(">=").rpartition(".0-0")[0]
    assert f"Kubernetes {oldest} or newer" in CHART_README
