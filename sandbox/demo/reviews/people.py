"""The people who decide about dead letters: users of the cluster, who may request and approve."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from sandbox.cluster import Sandbox
from sandbox.demo.cast import SHOP
from sandbox.demo.cluster import Cluster
from sandbox.demo.messages.broker import Answer
from sandbox.demo.namespaces import MARK, PREFIX
from sandbox.demo.shop import Manifest
from sandbox.errors import CommandError

ALICE, BOB = "alice@shop.example", "bob@shop.example"
ROLE = "dead-letter-reviewers"
REASONS = ("denied request: ", "Invalid value: ")
"""What stands before the sentence of an admission policy, and before that of the CRD."""
RULES = [
    {
        "apiGroups": ["troth.dev"],
        "resources": ["deadletterreviews"],
        "verbs": ["get", "list", "create", "update", "patch"],
    },
    {"apiGroups": ["troth.dev"], "resources": ["topicpolicies"], "verbs": ["approve"]},
]


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the cluster, with a certificate of its own.

    The administrator impersonates it on a cluster that this process has not started.
    """

    user: str
    sandbox: Sandbox
    kubeconfig: Path | None = None

    @property
    def name(self) -> str:
        """The user's name without its domain."""
        return self.user.partition("@")[0]

    def asks(self, *arguments: str, stdin: str | None = None) -> Answer:
        """Run kubectl as this user; return the API server's answer, with its sentence."""
        who = ("--kubeconfig", str(self.kubeconfig)) if self.kubeconfig else ("--as", self.user)
        try:
            return Answer(self.sandbox.kubectl(*who, *arguments, stdin=stdin).strip())
        except CommandError as error:
            return Answer(_sentence(error.stderr), rejected=True)


@contextmanager
def people(cluster: Cluster) -> Iterator[tuple[Person, Person]]:
    """Yield alice and bob, who may both request and approve while the context lasts."""
    kubectl = cluster.sandbox.kubectl
    rights = yaml.safe_dump_all(_rights())
    kubectl("apply", "-f", "-", stdin=rights)
    try:
        yield _person(cluster, ALICE), _person(cluster, BOB)
    finally:
        kubectl("delete", "-f", "-", "--ignore-not-found", stdin=rights)


def _person(cluster: Cluster, user: str) -> Person:
    sandbox = cluster.sandbox
    return Person(user, sandbox, sandbox.user_kubeconfig(user) if sandbox.is_ours else None)


def _rights() -> list[Manifest]:
    metadata = {"name": ROLE, "namespace": SHOP} | ({"labels": {MARK: "true"}} if PREFIX else {})
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": RULES},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": ROLE},
            "subjects": [
                {"apiGroup": group, "kind": "User", "name": user} for user in (ALICE, BOB)
            ],
        },
    ]


def _sentence(text: str) -> str:
    """Return the rule's own sentence of a denial, else all of the text."""
    for each in REASONS:
        text = text.rpartition(each)[2]
    return text.strip()
