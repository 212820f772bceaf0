"""TR402: which configuration names an identity header, and who reaches the workload."""

from typing import Any

import pytest

from tests import builders
from tests.audit.rules.scenes import container, deployment, findings, fixed, other, service
from tests.builders import NOW, Manifest
from troth.audit.evaluation import Evaluator
from troth.audit.facts.ingress.identity_headers import headers_in
from troth.audit.rules.headers.headers_configured import RULE
from troth.audit.scene import scene_of

HEADER = {"name": "USER_HEADER", "value": "X-Forwarded-User"}


def config_map(name: str = "web", **data: str) -> Manifest:
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def web(*env: Manifest, port: int | None = 8080, **more: Any) -> Manifest:
    return deployment(containers=[container(*env, port=port, **more)])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("X-Forwarded-User", ["x-forwarded-user"]),
        ("header=X-WEBAUTH-USER;", ["x-webauth-user"]),
        ("HTTP_X_USER_ID", ["x-user-id"]),
        ("if ($http_x_user) {}", ["x-user"]),
        ("REMOTE_USER", ["remote-user"]),
        ("$remote_addr - $remote_user", []),
        ("remote_user: deploy", []),
        ("x_user_id", []),
        ("X-Forwarded-For X-Request-Id", []),
    ],
)
def test_texts_that_name_headers(text: str, found: list[str]) -> None:
    assert list(headers_in(text)) == found


@pytest.mark.parametrize("variable", ["CORS_ALLOWED_HEADERS", "LOG_HEADERS", "EXPOSED_HEADERS"])
def test_variable_about_cors_or_logs_does_not_count(variable: str) -> None:
    assert findings(RULE, [web(HEADER)])
    assert not findings(RULE, [web({"name": variable, "value": "X-Forwarded-User"})])


def test_variable_about_a_proxy_in_front_counts() -> None:
    grafana = {"name": "GF_AUTH_PROXY_HEADER_NAME", "value": "X-WEBAUTH-USER"}
    (found,) = findings(RULE, [web(grafana)])
    assert found.evidence[0].shows == "names the header x-webauth-user"


def test_arguments_count_and_those_of_api_servers_do_not() -> None:
    assert findings(RULE, [web(args=["--user-header=X-Remote-User"])])
    assert not findings(RULE, [web(args=["--requestheader-username-headers=X-Remote-User"])])
    assert not findings(RULE, [web(args=["--cors-headers=X-User-Id"])])


def test_config_map_counts_if_the_key_that_names_the_header_is_read() -> None:
    maps = config_map(a="x-user-id: yes", b="nothing")

    def reads(**source: Any) -> Manifest:
        return deployment(
            containers=[container(port=8080)], volumes=[{"name": "a", "configMap": source}]
        )

    assert findings(RULE, [maps, reads(name="web")])
    assert findings(RULE, [maps, reads(name="web", items=[{"key": "a", "path": "a"}])])
    assert not findings(RULE, [maps, reads(name="web", items=[{"key": "b", "path": "b"}])])
    assert not findings(RULE, [maps, reads(name="other")])
    assert not findings(RULE, [config_map(**{"nginx.conf": "X-User-Id"}), reads(name="web")])


def test_workload_that_nobody_can_call_is_not_found() -> None:
    assert not findings(RULE, [web(HEADER, port=None)])
    assert findings(RULE, [web(HEADER, port=None), service()]), "a Service leads to it"
    metrics = web(HEADER, ports=[{"name": "metrics", "containerPort": 9090}])
    assert not findings(RULE, [metrics])


def test_change_of_a_policy_of_the_mesh_is_judged_everywhere() -> None:
    spec = {"rules": [{"from": [{"source": {"principals": ["a/gate"]}}]}]}
    scene, evaluator = scene_of([web(HEADER)], NOW), Evaluator((RULE,))
    assert evaluator.evaluate(scene).findings
    changed = scene.put(other("AuthorizationPolicy", "p", spec, "istio-system"))
    assert not evaluator.evaluate(scene, changed).findings


def test_identity_decides_who_reaches_it() -> None:
    def identity(*accepts: Manifest, **spec: Any) -> Manifest:
        return builders.identity("web", ports=[("http", 8080)], accepts=accepts, **spec)

    peer = builders.unverified("http", podSelector={"matchLabels": {"a": "b"}})
    assert not findings(RULE, [web(HEADER), identity(builders.accept("checkout", "http"))])
    assert findings(RULE, [web(HEADER), identity(peer)])
    assert findings(RULE, [web(HEADER), identity(enforcement="Observe")])


def test_fix_of_an_identity_removes_unverified_peers_and_says_so() -> None:
    accepts = [
        builders.accept("checkout", "http"),
        builders.unverified("http", cidrs=["10.0.0.0/8"]),
    ]
    identity = builders.identity("web", ports=[("http", 8080)], accepts=accepts)
    fix, after = fixed(RULE, [web(HEADER), identity])
    assert not findings(RULE, after)
    assert any("closes the network" in each for each in fix.steps)


def test_value_of_a_variable_is_not_in_a_finding() -> None:
    found = findings(RULE, [web({"name": "A", "value": "X-Forwarded-User canary-value"})])
    assert found
    assert "canary" not in repr(found)
