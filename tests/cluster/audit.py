"""Rights that ServiceAccounts used, from the audit log of a real API server.

https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml

from sandbox import Sandbox
from tests.cluster.person import Manifest
from troth.resources.references import Ref

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}],
}
CREATED, FORBIDDEN = 201, 403


class Right(NamedTuple):
    """One verb on one resource, everywhere if `namespace` is empty, on one object if it has a name.

    `resource` has the group and the subresource, such as `messagebrokers.troth.dev/status`, or is
    the path of a document.
    """

    user: str
    verb: str
    resource: str
    namespace: str = ""
    name: str = ""

    def covers(self, request: "Right") -> bool:
        """Return whether the right allows a request."""
        return (
            self[:3] == request[:3]
            and self.namespace in ("", request.namespace)
            and self.name in ("", request.name)
        )


@dataclass(frozen=True)
class Audit:
    """Audit log of an API server."""

    log: Path

    def unused(self, manifests: Iterable[Manifest], account: Ref) -> list[Right]:
        """Return the rights that manifests grant to a ServiceAccount and that it has not used.

        Fails if the API server has denied it anything.
        """
        used = self.used(account)
        rights = [each for each in granted(manifests) if each.user == _user(account)]
        assert rights
        return [each for each in rights if not any(map(each.covers, used))]

    def used(self, account: Ref) -> set[Right]:
        """Return the rights that a ServiceAccount has used; fails if one was denied."""
        requests = {each for each in self._requests() if each[0].user == _user(account)}
        assert not [right for right, status in requests if status == FORBIDDEN]
        return {right for right, _ in requests}

    def _requests(self) -> Iterator[tuple[Right, int]]:
        """Yield each request as the right that it needs, and the status code of its answer.

        A server-side apply is the verb patch. If it creates the object, it also needs create.
        """
        for line in self.log.read_text().splitlines():
            event = json.loads(line)
            status = event.get("responseStatus", {}).get("code", 0)
            if target := event.get("objectRef"):
                right = _right(event["user"]["username"], event["verb"], target)
                yield right, status
                if right.verb == "patch" and status == CREATED:
                    yield right._replace(verb="create", name=""), status
            else:
                path = event["requestURI"].partition("?")[0]
                yield Right(event["user"]["username"], event["verb"], path), status


def _user(account: Ref) -> str:
    return f"system:serviceaccount:{account.namespace}:{account.name}"


def _right(user: str, verb: str, target: dict[str, str]) -> Right:
    group, subresource = target.get("apiGroup", ""), target.get("subresource", "")
    resource = _joined(target["resource"], group, subresource)
    return Right(user, verb, resource, target.get("namespace", ""), target.get("name", ""))


def _joined(resource: str, group: str, subresource: str = "") -> str:
    named = f"{resource}.{group}" if group else resource
    return f"{named}/{subresource}" if subresource else named


def granted(manifests: Iterable[Manifest]) -> Iterator[Right]:
    """Yield every right that the bound roles among some manifests grant to ServiceAccounts."""
    objects = list(manifests)
    rules = {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each[
            "rules"
        ]
        for each in objects
        if "rules" in each
    }
    for binding in (each for each in objects if "roleRef" in each):
        space, role = binding["metadata"].get("namespace", ""), binding["roleRef"]
        place = (role["kind"], space if role["kind"] == "Role" else "", role["name"])
        for subject in binding["subjects"]:
            user = f"system:serviceaccount:{subject['namespace']}:{subject['name']}"
            for rule in rules[place]:
                yield from _of_rule(user, rule, space)


def _of_rule(user: str, rule: Manifest, namespace: str) -> Iterator[Right]:
    for path in rule.get("nonResourceURLs", ()):
        yield from (Right(user, verb, path) for verb in rule["verbs"])
    for group in rule.get("apiGroups", ()):
        for described in rule["resources"]:
            resource, _, subresource = described.partition("/")
            for verb in rule["verbs"]:
                for name in rule.get("resourceNames", [""]):
                    yield Right(user, verb, _joined(resource, group, subresource), namespace, name)


@contextmanager
def audited(sandbox: Sandbox) -> Iterator[tuple[Sandbox, Audit]]:
    """Run one more API server of a sandbox, with an audit log; yield the sandbox behind it."""
    directory = sandbox.directory / "audit"
    directory.mkdir()
    policy, log = directory / "policy.json", directory / "log"
    policy.write_text(json.dumps(POLICY))
    flags = (f"--audit-policy-file={policy}", f"--audit-log-path={log}")
    with sandbox.control_plane.another_api_server("audited-api-server", *flags) as port:
        config = yaml.safe_load(sandbox.kubeconfig.read_text())
        server = sandbox.control_plane.server.rpartition(":")[0]
        config["clusters"][0]["cluster"]["server"] = f"{server}:{port}"
        kubeconfig = directory / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(config))
        yield Sandbox(directory, kubeconfig), Audit(log)
