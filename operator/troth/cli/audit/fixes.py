"""The way out of a finding: manifests to apply, patches as commands, and steps for a person."""

import json
import re
import shlex
from textwrap import wrap
from typing import Any

from troth.audit.finding import Finding, Fix, Patch
from troth.cli.quoting import quoted
from troth.cluster.resources import AUDITED, RESOURCES, resource_of
from troth.resources.manifests import dump

_WIDTH = 98
"""Columns of a comment without its sign."""
_COMMAND = re.compile("`[^`]*`")
_SPACE = "\0"
"""Stands for a space at which no line ends. Quoted text has no such character."""


def fix_text(finding: Finding, fix: Fix) -> str:
    """Return a fix as YAML for `kubectl apply -f -`; patches and steps are comments in it.

    Nothing that a manifest names can end a comment or a quoted argument. Commands are not wrapped.
    """
    lines = [f"{finding.id}: {finding.subject}: {finding.message}"]
    if fix.steps:
        lines += ["What a person has to do:", *(f"- {each}" for each in fix.steps)]
    comments = [f"# {line}" for each in lines for line in _wrapped(quoted(each))]
    if fix.patches:
        then = "After these manifests, run:" if fix.manifests else "Run:"
        comments += [f"# {then}", *(f"# {patch_command(each)}" for each in fix.patches)]
    documents = [dump(each, ascii=True) for each in fix.manifests]
    return "".join(f"{each}\n" for each in comments) + "---\n".join(documents)


def _wrapped(text: str) -> list[str]:
    """Return the lines of a comment, with each command between backquotes on one of them."""
    whole = _COMMAND.sub(lambda found: found.group().replace(" ", _SPACE), text)
    lines = wrap(
        whole, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [each.replace(_SPACE, " ") for each in lines]


def fix_document(finding: Finding, fix: Fix) -> dict[str, Any]:
    """Return a fix as JSON."""
    return {
        "id": finding.id,
        "manifests": list(fix.manifests),
        "patches": [
            {
                "kind": each.object.kind,
                "namespace": each.object.ref.namespace,
                "name": each.object.ref.name,
                "patch": each.patch,
                "command": patch_command(each),
            }
            for each in fix.patches
        ],
        "steps": list(fix.steps),
    }


def patch_command(patch: Patch) -> str:
    """Return the command that applies a merge patch, as one line for a POSIX shell."""
    kind, ref = patch.object
    arguments = ["kubectl", "patch", f"{_resource(kind)}/{ref.name}"]
    if ref.namespace:
        arguments.append(f"--namespace={ref.namespace}")
    arguments += ["--type=merge", "--patch", json.dumps(patch.patch)]
    return shlex.join(map(quoted, arguments))


def _resource(kind: str) -> str:
    """Return a kind as kubectl takes it: the plural and the group, which is never ambiguous."""
    if kind not in RESOURCES and kind not in AUDITED:
        return kind.lower()
    resource = resource_of(kind)
    return f"{resource.name}.{resource.group}" if resource.group else str(resource.name)
