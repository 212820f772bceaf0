"""Evidence names fields as paths; they lead to lines."""

from typing import Any

import pytest

from troth.cli.audit.places import steps_of

NGINX = "nginx.ingress.kubernetes.io/whitelist-source-range"
MANIFEST: dict[str, Any] = {
    "metadata": {"annotations": {NGINX: "10.0.0.0/8", "nginx": "x"}, "labels": None},
    "spec": {"containers": [{"env": [{"name": "A"}]}, {}], "a": 1, "a.b": {"c": 2}},
}


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("", ()),
        ("spec.containers[0].env[0].name", ("spec", "containers", 0, "env", 0, "name")),
        ("spec.containers[7].env", ("spec", "containers")),
        ("spec.missing.field", ("spec",)),
        (f"metadata.annotations.{NGINX}", ("metadata", "annotations", NGINX)),
        (f"metadata.annotations[{NGINX}]", ("metadata", "annotations", NGINX)),
        (f'metadata.annotations["{NGINX}"]', ("metadata", "annotations", NGINX)),
        ("metadata.labels.app", ("metadata", "labels")),
        ("spec.a.b.c", ("spec", "a.b", "c")),
        ("spec.containers[999999999999999999999]", ("spec", "containers")),
        ("spec.containers[x]", ("spec", "containers")),
        ("spec.containers[", ("spec", "containers")),
        ("[[[[", ()),
        ("....", ()),
    ],
)
def test_steps_end_where_the_manifest_has_no_such_field(path: str, steps: tuple[Any, ...]) -> None:
    assert steps_of(MANIFEST, path) == steps
