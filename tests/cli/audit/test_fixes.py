"""`troth audit --fix`: YAML to apply, patches as commands, steps as comments."""

import json
import shlex
from typing import Any

import pytest
import yaml

from tests.cli.audit.shop import audited, deployment
from tests.cli.audit.test_command import HOSTILE
from troth.audit.finding import Finding, Fix, Object, Patch
from troth.cli.audit.fixes import fix_text, patch_command
from troth.resources.references import Ref


def identifier(name: str = "web") -> str:
    document = json.loads(audited(deployment(name), arguments=("-o", "json")).output)
    found: str = document["findings"][0]["id"]
    return found


def commands(text: str) -> list[list[str]]:
    """Return the words of the commands in a fix, as a shell reads them."""
    return [
        shlex.split(line.removeprefix("# "))
        for line in text.splitlines()
        if line.startswith("# kubectl")
    ]


def test_fix_is_yaml_with_the_patches_and_steps_as_comments() -> None:
    ended = audited(deployment(), arguments=("--fix", identifier()))
    assert ended.code == 0
    (account,) = yaml.safe_load_all(ended.output)
    assert (account["kind"], account["metadata"]) == (
        "ServiceAccount",
        {"name": "web", "namespace": "shop"},
    )
    assert "# - Bind the rights" in ended.output
    ((*words, patch),) = commands(ended.output)
    assert words == [
        *("kubectl", "patch", "deployments.apps/web", "--namespace=shop"),
        *("--type=merge", "--patch"),
    ]
    assert json.loads(patch)["spec"]["template"]["spec"] == {"serviceAccountName": "web"}


def test_fix_as_json_has_its_parts() -> None:
    ended = audited(deployment(), arguments=("--fix", identifier(), "-o", "json"))
    document = json.loads(ended.output)
    assert list(document) == ["id", "manifests", "patches", "steps"]
    assert list(document["patches"][0]) == ["kind", "namespace", "name", "patch", "command"]


def test_unknown_finding_is_rejected() -> None:
    ended = audited(deployment(), arguments=("--fix", "TR701-0000000000000000"))
    assert ended.code == 2
    assert "no finding has the ID" in ended.errors


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_name_stays_one_argument_and_one_comment(name: str) -> None:
    text = audited(deployment(name), arguments=("--fix", identifier(name))).output
    ((*words, patch),) = commands(text)
    assert len(words) == 6
    assert words[2].startswith("deployments.apps/")
    assert "\x1b" not in text
    json.loads(patch)
    beside = [each for each in text.splitlines() if not each.startswith("#")]
    (account,) = yaml.safe_load_all("\n".join(beside))
    assert account["metadata"]["name"] == name


def _finding() -> Finding:
    return Finding("TR701", Object("Deployment", Ref("shop", "web")), "it is wrong")


@pytest.mark.parametrize("text", ["a\nkind: Secret", "a\rb", "a\u2028b", "a\x85b"])
def test_step_cannot_leave_its_comment(text: str) -> None:
    shown = fix_text(_finding(), Fix(steps=(text,)))
    assert list(yaml.safe_load_all(shown)) == []


def test_comments_are_wrapped_and_commands_are_not() -> None:
    command = f"`kubectl delete {' '.join(['secret/a'] * 20)}`"
    step = f"{'Move its users first. ' * 9}Then run {command}, and look again."
    lines = fix_text(_finding(), Fix(steps=(step,))).splitlines()
    assert [each for each in lines if len(each) > 100] == [
        next(each for each in lines if command in each)
    ]
    assert not any(each.count("Move its users first.") > 4 for each in lines)
    joined = " ".join(each.removeprefix("#").strip() for each in lines)
    assert step in joined, "nothing is lost"
    assert all(each == each.rstrip() for each in lines)


def test_cluster_scoped_object_is_patched_without_a_namespace() -> None:
    patch: dict[str, Any] = {"spec": {"consent": None}}
    command = patch_command(Patch(Object("TrustDomain", Ref("", "production")), patch))
    assert shlex.split(command) == [
        *("kubectl", "patch", "trustdomains.troth.dev/production", "--type=merge", "--patch"),
        json.dumps(patch),
    ]


def test_core_kind_has_no_group() -> None:
    command = patch_command(Patch(Object("Service", Ref("shop", "web")), {}))
    assert shlex.split(command)[2] == "services/web"
