"""Package, chart and changelog agree about the version and the addresses of the project."""

import yaml

from tests.packaging.distributions import ROOT, project

CHART = yaml.safe_load((ROOT / "charts" / "troth" / "Chart.yaml").read_text())


def test_chart_and_package_have_one_version() -> None:
    assert {project()["version"], CHART["version"], CHART["appVersion"]} == {CHART["version"]}
