"""The pages about operation agree with the chart, the tools and the other pages."""

import re

import pytest
import yaml

from tests.guides.pages import ROOT, page
from troth.cli.backup.portable import DECLARED, OWNED, OWNED_BY_TROTH
from troth.cluster.leases.lease import Timing
from troth.resources.kinds import EVERY_KIND
from troth.resources.metadata import GROUP

VALUES = yaml.safe_load((ROOT / "charts" / "troth" / "values.yaml").read_text())


def value(path: str) -> object:
    found: object = VALUES
    for part in path.split("."):
        assert isinstance(found, dict), path
        found = found[part]
    return found


def test_every_reason_of_the_conditions_has_its_symptom() -> None:
    table = page("reference/conditions.md").partition("\n## ")[0]
    reasons = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]+)\|", table, re.MULTILINE))))
    conditions = set(re.findall(r"of `(\w+)`", table)) | set(re.findall(r"or `(\w+)` \|", table))
    text = page("operations/troubleshooting.md")
    assert "AuthorityMissing" in reasons
    assert {each for each in reasons - conditions if f"`{each}`" not in text} == set()


def test_defaults_of_high_availability_are_those_of_the_chart() -> None:
    text = page("operations/high-availability.md")
    rows = re.findall(r"^\| `([\w.]+)` \| `?([^|`]+)`? \|", text, re.MULTILINE)
    assert len(rows) > 4
    for name, said in rows:
        default = value(name)
        assert said.strip() == (str(default).lower() if default is True else default or "none") or (
            said.strip() == str(default)
        ), name


def test_takeover_times_fit_the_lease() -> None:
    text = page("operations/high-availability.md")
    timing = Timing()
    assert f"`leaseDuration` of {timing.duration:.0f} s" in text
    assert f"at most {1.2 * timing.duration:.0f} s" in text
    assert f"all writes {timing.margin:.0f} seconds before" in text


def test_figures_of_sizing_are_those_of_the_measurements() -> None:
    measured = page("performance.md")
    text = page("operations/sizing.md")
    memories = re.findall(r"^\| ([\d,]+) \| (\d+) MB", text, re.MULTILINE)
    assert len(memories) > 1
    for identities, memory in memories:
        assert re.search(rf"memory at rest: .*{identities}.* \| .*\b{memory}\b", measured)
    for figure in ("4,050", "8,480", "10.1 s", "8.7 s", "259 µs", "60 ms", "127 ms", "2.6 s"):
        assert figure in text
        assert figure in measured


@pytest.mark.parametrize("name", ["resources", "issuer.resources", "gateway.resources"])
def test_limits_of_sizing_are_those_of_the_chart(name: str) -> None:
    limits = value(f"{name}.limits")
    assert isinstance(limits, dict)
    assert str(limits["memory"]) in page("operations/sizing.md")


def test_tried_network_is_the_one_of_the_sandbox() -> None:
    module = (ROOT / "sandbox" / "tools" / "kube-router" / "go.mod").read_text()
    (version,) = re.findall(r"kube-router/v2 v(\S+)", module)
    assert f"**kube-router** {version}" in page("operations/networks.md")


def test_exported_kinds_are_all_that_a_backup_has() -> None:
    declared, owned = re.findall(r"\$ kubectl get (\S+) -A", page("operations/backup.md"))
    assert set(declared.split(",")) == {
        "namespaces",
        *(kind.plural for kind in EVERY_KIND if kind.name in DECLARED),
    }
    assert [each.rstrip("s").replace("ie", "y") for each in owned.split(",")] == [
        each.lower() for each in OWNED
    ]
    assert f"-l {OWNED_BY_TROTH} " in page("operations/backup.md")


@pytest.mark.parametrize("name", ["hardening", "troubleshooting", "high-availability"])
def test_named_values_exist(name: str) -> None:
    beginnings = ("admissionPolicy", "networkPolicy", "podDisruptionBudget", "rollouts", "image")
    for path in re.findall(r"`((?:\w+\.)+\w+)`", page(f"operations/{name}.md")):
        if path.startswith(beginnings) and not path.endswith(GROUP):
            value(path)
