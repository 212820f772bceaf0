"""Commands in the steps of fixes, which people copy into a shell."""

import re
import shlex

import pytest

from tests.audit.scenes import findings, live
from tests.builders import DAY, NOW, Manifest, stamp
from troth.audit.commands import command
from troth.audit.registry import RULE_BY_ID

HOSTILE = "a; rm -rf / $(id) `id` 'b"


def test_command_is_one_word_for_each_argument() -> None:
    assert command("kubectl", "delete", f"secret/{HOSTILE}") == (
        """`kubectl delete 'secret/a; rm -rf / $(id) `id` '"'"'b'`"""
    )


def named(kind: str, api_version: str, **more: object) -> Manifest:
    metadata = {"name": HOSTILE, "namespace": HOSTILE}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


@pytest.mark.parametrize(
    ("rule", "manifest"),
    [
        ("TR703", named("Secret", "v1", type="kubernetes.io/service-account-token")),
        (
            "TR704",
            named(
                "Certificate",
                "cert-manager.io/v1",
                status={"notBefore": stamp(NOW - DAY), "notAfter": stamp(NOW)},
            ),
        ),
    ],
    ids=["Secret", "Certificate"],
)
def test_hostile_name_is_one_word_of_a_command(rule: str, manifest: Manifest) -> None:
    scene = live(manifest)
    (finding,) = findings(rule, scene)
    fix = RULE_BY_ID[rule].fix(scene, finding)
    commands = [found for step in fix.steps for found in re.findall("`(.*)`", step)]
    hostile = [each for each in commands if "rm -rf" in each]
    assert hostile
    for each in hostile:
        given = shlex.split(each)
        assert "rm" not in given
        assert any(HOSTILE in word for word in given)
