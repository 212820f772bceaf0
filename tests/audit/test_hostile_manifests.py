"""Every rule survives members of wrong types, texts of any length and hostile names."""

import copy
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from tests.audit.pages import NOW, evaluated, page
from tests.audit.rules.scenes import (
    container,
    deployment,
    from_secret,
    ingress,
    other,
    service,
)
from troth.audit.registry import RULES
from troth.audit.rule import Rule
from troth.audit.scene import Manifest, scene_of

Path = tuple[str | int, ...]

DEEP: Any = []
for _ in range(500):
    DEEP = [DEEP]
WRONG: tuple[Any, ...] = (None, 7, True, "text", [], {}, ["text"], {"a": 7}, [None, 7], DEEP)
LONG = 10_000_000
"""Characters of a long annotation. A rule that takes a quadratic time would not end with it."""
SHORTER = 1_000_000
"""Characters of a long text in a pod, where the API server accepts no more."""
NGINX = "nginx.ingress.kubernetes.io/"


def paths(value: Any, here: Path = ()) -> Iterator[Path]:
    """Yield the path of every member of an object that a user may write as anything."""
    members = value.items() if isinstance(value, dict) else enumerate(value)
    for name, each in members:
        if here or name in ("spec", "data", "status"):
            yield (*here, name)
        if isinstance(each, dict | list) and (here or name in ("spec", "data", "status")):
            yield from paths(each, (*here, name))


def changed(manifest: Manifest, path: Path, value: Any) -> Manifest:
    result = copy.deepcopy(manifest)
    parent: Any = result
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = value
    return result


def evaluate(rule: Rule, manifests: list[Manifest]) -> None:
    """Evaluate a rule over what the scene takes; `troth audit` reports a manifest it rejects."""
    scene = scene_of([], NOW)
    for each in manifests:
        with suppress(TypeError, AttributeError, LookupError, ValueError):
            scene.put(each)
    evaluated(rule, scene)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_member_of_a_wrong_type_never_stops_a_rule(rule: Rule) -> None:
    for manifests in page(rule).found:
        for number, manifest in enumerate(manifests):
            if manifest["apiVersion"].startswith("troth.dev/"):
                continue  # the models reject it, and their tests show that
            for at, path in enumerate(paths(manifest)):
                hostile = changed(manifest, path, WRONG[at % len(WRONG)])
                evaluate(rule, [*manifests[:number], hostile, *manifests[number + 1 :]])


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: repr(wrong)[:12])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_spec_of_a_wrong_type_never_stops_a_rule(rule: Rule, wrong: Any) -> None:
    kinds = ("Ingress", "HTTPRoute", "VirtualService", "Gateway", "Middleware", "NetworkPolicy")
    policies = ("AuthorizationPolicy", "RequestAuthentication", "SecurityPolicy")
    members = ("rules", "http", "targetRefs", "jwtRules", "ingress", "podSelector", "forwardAuth")
    scene = [deployment(containers=[container(port=8080)]), service()]
    for kind in (*kinds, *policies):
        scene.append(other(kind, "whole", wrong))
        scene.append(other(kind, "members", {name: wrong for name in members}))  # noqa: C420
        scene.append(other(kind, "lists", {name: [wrong] for name in members}))
    evaluate(rule, scene)


@pytest.mark.parametrize(
    "text",
    [
        "a" * LONG,
        "=" * LONG,
        "a:" * (LONG // 2),
        "a." * (LONG // 2),
        "-a" * (LONG // 2),
        "x-user" * (LONG // 6),
        "[" * LONG,
        "1.1.1.1/32," * (LONG // 11),
        "proxy_set_header " * (LONG // 17),
        "Aa" * (LONG // 2),
    ],
    ids=lambda text: text[:4],
)
def test_long_text_costs_a_time_in_proportion_to_its_length(text: str) -> None:
    annotations = {
        f"{NGINX}whitelist-source-range": text,
        f"{NGINX}auth-url": text,
        f"{NGINX}auth-response-headers": text,
        f"{NGINX}configuration-snippet": text,
        "alb.ingress.kubernetes.io/conditions.web": text,
        "traefik.ingress.kubernetes.io/router.middlewares": text,
    }
    part = text[:SHORTER]
    pods = [
        deployment(
            name,
            containers=[
                container(
                    from_secret(part, "kafka"),
                    {"name": part, "value": part},
                    port=8080,
                    args=[part, f"--upstream={part}"],
                    image=f"oauth2-proxy{part}",
                )
            ],
        )
        for name in ("one", "two")
    ]
    config = {
        "kind": "ConfigMap",
        "metadata": {"name": "a", "namespace": "shop"},
        "data": {"a": text},
    }
    scene = scene_of([ingress(annotations=annotations, path=text), service(), config, *pods], NOW)
    for rule in RULES:
        evaluated(rule, scene)


def test_hostile_names_are_evidence_as_they_are_and_give_valid_drafts() -> None:
    """Who shows a finding escapes it; a drafted name is one that the API server accepts."""
    hostile = "web\x1b[31m`$(rm)`\u202e<b>|\n"
    (rule,) = (each for each in RULES if each.id == "TR401")
    auth = {f"{NGINX}auth-url": "a", f"{NGINX}auth-response-headers": f"X-User,{hostile}"}
    scene = scene_of(
        [
            ingress(annotations=auth, backend=hostile),
            service(hostile, selector={"app": hostile}),
            deployment(hostile, containers=[container(port=8080)]),
        ],
        NOW,
    )
    (found,) = evaluated(rule, scene).findings
    assert found.subject.ref.name == hostile
    assert hostile not in found.evidence[0].shows, "it is not the name of a header"
    (draft,) = rule.fix(scene, found).manifests
    assert draft["metadata"]["name"] == "web-31m-rm-b"
