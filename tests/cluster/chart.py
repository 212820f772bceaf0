"""The chart's objects for one test, installed without starting a program.

helm renders the templates once for each set of values, and every test uses the result under its own
name. The tests that helm itself installs, upgrades and uninstalls all of it are in test_chart.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.chart.rendering import rendered
from tests.cluster.person import Manifest, Person, until
from troth.resources.references import Ref

STAND_IN = "t00000000"
"""Placeholder of a test's name while helm renders."""
USUAL = (
    "crds.upgrade=false",  # all tests share the installed CRDs
    "admissionPolicy.enabled=false",  # every test has an operator of its own
    "review.admissionPolicy=false",
    "rbac.userRoles=false",
    f"fullnameOverride=troth-{STAND_IN}",
)
RUN_HERE = "Deployment"
"""Kinds that are not applied: tests start those programs themselves."""


def objects(name: str, *values: str) -> list[Manifest]:
    """Return the chart's objects for the test of that name, which runs in `troth-<name>`."""
    own = f"troth-{STAND_IN}"
    values = tuple(value.replace(name, STAND_IN) for value in (*USUAL, *values))
    found = _named(rendered(*values, release=STAND_IN, namespace=own), name)
    return [each for each in found if each["kind"] != RUN_HERE]


LEVELS, MEMBERS = 16, 2_000
"""Levels and members at a level that the chart's admission policy allows in `managedFields`."""


def finalizer_policy(name: str) -> list[Manifest]:
    """Return the policy that lets a test's operator change only finalizers, and its binding."""
    return _admission_policy(name, "finalizers")


def managed_fields_policy(name: str) -> list[Manifest]:
    """Return the policy that denies deep `managedFields`, and its binding."""
    return _admission_policy(name, "managed-fields")


def _admission_policy(name: str, which: str) -> list[Manifest]:
    found = objects(name, "admissionPolicy.enabled=true")
    return [each for each in found if each["metadata"]["name"] == f"troth-{name}-{which}"]


def _named(value: Any, name: str) -> Any:
    match value:
        case str():
            return value.replace(STAND_IN, name)
        case list():
            return [_named(each, name) for each in value]
        case dict():
            return {key.replace(STAND_IN, name): _named(each, name) for key, each in value.items()}
    return value


async def install(person: Person, wanted: list[Manifest]) -> None:
    """Apply the chart's objects; return once their RBAC is in force."""
    await person.put(*wanted)
    for account, what in _rights(wanted):
        await until(partial(person.may, account, **what), bool)


async def uninstall(person: Person, installed: list[Manifest]) -> None:
    for each in reversed(installed):
        await person.delete(each["kind"], Ref.of(each))


def _rights(installed: list[Manifest]) -> Iterator[tuple[Ref, dict[str, str]]]:
    """Return one right of each bound role, because the API server applies RBAC with a delay."""
    roles = {(each["kind"], Ref.of(each)): each["rules"] for each in installed if "rules" in each}
    for binding in (each for each in installed if "roleRef" in each):
        kind, namespace = binding["roleRef"]["kind"], binding["metadata"].get("namespace", "")
        role = Ref(namespace if kind == "Role" else "", binding["roleRef"]["name"])
        for rule in roles.get((kind, role), [])[:1]:
            what = {
                "namespace": namespace,
                "group": rule["apiGroups"][0],
                "verb": rule["verbs"][0],
                "resource": rule["resources"][0],
                "name": rule.get("resourceNames", [""])[0],
            }
            for subject in binding["subjects"]:
                yield Ref(subject["namespace"], subject["name"]), what
