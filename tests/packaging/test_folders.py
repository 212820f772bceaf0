"""No file of the chart is forgotten: a merge once restored a folder that nothing names."""

import subprocess

from tests.packaging.distributions import ROOT

CHART = "charts/troth"
READ_BY_HELM = (
    ".helmignore",
    "templates/",
    "crds/",
    "Chart.yaml",
    "values.yaml",
    "values.schema.json",
)


def test_every_file_of_the_chart_is_named_somewhere() -> None:
    listed = subprocess.check_output(["git", "ls-files", CHART], cwd=ROOT, text=True).split()
    files = [each.removeprefix(f"{CHART}/") for each in listed]
    others = [each for each in files if not each.startswith(READ_BY_HELM)]
    assert others
    assert [each for each in others if not _is_named(each)] == []


def _is_named(file: str) -> bool:
    command = ["git", "grep", "--quiet", "--fixed-strings", file, "--", ".", f":!{CHART}/{file}"]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0
