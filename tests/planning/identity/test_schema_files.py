"""Schemas that do not fit into an identity's Secret: they go to a ConfigMap, which says so."""

import json
from typing import Any

import pytest

from tests.builders import Cluster, Manifest, key_of, shop
from tests.messaging import broker, policy, producer
from tests.planning.identity.test_messages import checkout, document, entries_of, names, stage
from troth.planning.identity.messages.schema_room import FILES_ROOM, ROOM
from troth.planning.owned_objects import FOREIGN_RETRY
from troth.planning.plan import Plan
from troth.planning.steps.certificates import UpdatePublic
from troth.planning.steps.objects import Apply, Remove
from troth.resources.messaging.schemas.schema_text import digest_of
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY
from troth.world.outcomes.writes import ForeignFound, WriteRefused

FILES = "ConfigMap", Ref("shop", "checkout-schemas")
FITTING, ALL = 11, 29
"""Number of wide schemas that fit into the Secret, and one that does not fit into both places."""


def wide(number: int, version: str = "", accept: str = "Current") -> Manifest:
    """Return a policy whose schema takes nearly all that one schema may."""
    schema = {"description": f"{number}{version}".ljust(60_000, "x")}
    return policy(
        f"p{number:02}",
        topic={"name": f"prod.t{number:02}"},
        producers=[producer("checkout")],
        schema={"jsonSchema": schema, "accept": accept},
    )


def publisher(count: int) -> Manifest:
    return checkout(publishes=names(*(f"p{number:02}" for number in range(count))))


def with_policies(count: int) -> Cluster:
    """Return a cluster in which one identity publishes by so many policies with wide schemas."""
    return shop(broker(), *map(wide, range(count)), publisher(count)).settle()


def files_of(cluster: Cluster) -> dict[str, str]:
    """Return the schemas in the ConfigMap, which has exactly those that its index lists."""
    data = (
        dict(cluster.objects[FILES]["data"]) if FILES in cluster.objects else {"index.json": "{}"}
    )
    assert json.loads(data.pop("index.json")).keys() == data.keys()
    return data


def named(cluster: Cluster) -> dict[str, str]:
    """Return the files that the document names, by policy; each exists and has its digest."""
    found = {}
    for entry in entries_of(cluster, "checkout"):
        for schema in entry.get("schemas", ()):
            if "file" in schema:
                text = cluster.objects[FILES]["data"][schema["file"]]
                assert digest_of(text) == schema["digest"]
                found[entry["policy"]] = schema["file"]
    return found


def told(cluster: Cluster) -> tuple[str, str, str]:
    """Return status, reason and message of the condition, empty texts if there is none."""
    status = cluster.plan(key_of("checkout")).status
    assert status is not None
    found = [each for each in status["conditions"] if each["type"] == "SchemasWritten"]
    return (found[0]["status"], found[0]["reason"], found[0]["message"]) if found else ("", "", "")


def step_for(plan: Plan, kind: type[Any]) -> Any:
    return next(
        (each for each in plan.steps if isinstance(each, kind) and each.target == FILES), None
    )


def test_schemas_that_fit_need_no_config_map() -> None:
    cluster = with_policies(FITTING)
    assert named(cluster) == files_of(cluster) == {}
    assert FILES not in cluster.objects
    assert told(cluster) == ("", "", "")


def test_schemas_that_do_not_fit_go_to_a_config_map_and_the_status_says_so() -> None:
    cluster = with_policies(FITTING + 2)
    assert [*named(cluster)] == [f"shop/p{number}" for number in (FITTING, FITTING + 1)]
    assert set(named(cluster).values()) == files_of(cluster).keys()
    assert len(document(cluster, "checkout")) < ROOM + 20_000
    status, reason, message = told(cluster)
    assert (status, reason) == ("True", "InConfigMap")
    assert message == (
        "the schemas of 2 policies do not fit into Secret shop/checkout-identity; mount ConfigMap "
        "shop/checkout-schemas at /var/run/troth/schemas"
    )


def test_config_map_is_owned_by_the_identity_and_lists_the_policies_of_each_file() -> None:
    cluster = with_policies(FITTING + 1)
    made = cluster.objects[FILES]
    assert made["metadata"]["labels"] == {
        MANAGED_BY: "troth",
        "troth.dev/owner-kind": "ServiceIdentity",
        "troth.dev/owner-name": "checkout",
    }
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == (
        "ServiceIdentity",
        "checkout",
        True,
    )
    (file,) = named(cluster).values()
    assert json.loads(made["data"]["index.json"]) == {file: [f"shop/p{FITTING}"]}


def test_policies_with_one_schema_share_its_file() -> None:
    alike = [wide(number) for number in range(FITTING + 3)]
    for each in alike:
        each["spec"]["schema"] = alike[0]["spec"]["schema"]
    cluster = shop(broker(), *alike, publisher(len(alike))).settle()
    assert len(named(cluster)) == 3
    assert len(files_of(cluster)) == 1


def test_schemas_that_fit_nowhere_become_a_fault_and_the_status_says_so() -> None:
    """The schemas of the first policies are kept, so the result is always the same."""
    cluster = with_policies(ALL)
    entries = entries_of(cluster, "checkout")
    faults = [entry for entry in entries if entry.get("schemaFault") == "SchemasTooLarge"]
    assert 0 < len(faults) < len(entries) - FITTING
    assert faults == entries[-len(faults) :]
    assert not any("schemas" in entry for entry in faults)
    assert sum(map(len, cluster.objects[FILES]["data"].values())) < FILES_ROOM
    status, reason, message = told(cluster)
    assert (status, reason) == ("False", "SchemasTooLarge")
    assert message.startswith(f"the schemas of {len(faults)} policies fit neither into Secret ")
    assert "producers send no messages of them, and consumers wait with theirs until" in message


def test_config_map_is_deleted_once_the_document_names_no_file() -> None:
    """Until then its files stay, because the document may not be written at all."""
    cluster = with_policies(FITTING + 1)
    before = files_of(cluster)
    cluster.put(publisher(FITTING))
    plan = cluster.plan(key_of("checkout"))
    assert step_for(plan, Apply).manifest["data"].keys() - {"index.json"} == before.keys()
    assert step_for(plan, Remove) is None
    cluster.settle()
    assert FILES not in cluster.objects
    assert (named(cluster), told(cluster)[0]) == ({}, "")


def test_file_is_written_before_and_removed_after_the_document_names_it() -> None:
    cluster = with_policies(FITTING + 1)
    old = set(files_of(cluster))
    cluster.put(wide(FITTING, "b"))
    plan = cluster.plan(key_of("checkout"))
    apply = step_for(plan, Apply)
    document_at = [isinstance(each, UpdatePublic) for each in plan.steps].index(True)
    assert plan.steps.index(apply) < document_at
    assert old < apply.manifest["data"].keys() - {"index.json"}
    cluster.carry_out(apply)
    assert set(named(cluster).values()).isdisjoint(old)
    assert files_of(cluster).keys() == set(named(cluster).values())


def test_document_names_only_existing_files_after_each_step() -> None:
    """As if the operator were killed there."""
    cluster = with_policies(FITTING + 2)
    for change in (wide(0, "b"), wide(FITTING, "b"), publisher(FITTING), publisher(FITTING + 1)):
        cluster.put(change)
        for _ in range(4):
            for step in cluster.plan(key_of("checkout")).steps:
                if not step.is_done(cluster.world):
                    cluster.carry_out(step)
                text = cluster.world.secrets[Ref("shop", "checkout-identity")].public[
                    "identity.json"
                ]
                data = (
                    cluster.world.bundles[FILES[1]].data
                    if FILES[1] in cluster.world.bundles
                    else {}
                )
                listed = json.loads(text)["messages"]
                files = {
                    each["file"] for entry in listed for each in entry["schemas"] if "file" in each
                }
                assert files <= data.keys()


def test_previous_schema_is_remembered_from_its_file() -> None:
    cluster = shop(
        broker(), *(wide(n, "a", "Previous") for n in range(FITTING + 1)), publisher(FITTING + 1)
    ).settle()
    last = f"shop/p{FITTING}"
    (first,) = files_of(cluster)
    cluster.put(wide(FITTING, "b", "Previous"))
    entry = entries_of(cluster, "checkout")[-1]
    assert entry["policy"] == last
    assert [each["file"] == first for each in entry["schemas"]] == [False, True]
    assert len(files_of(cluster)) == 2
    cluster.put(wide(FITTING, "a", "Previous"))
    entry = entries_of(cluster, "checkout")[-1]
    assert [each["file"] == first for each in entry["schemas"]] == [True, False]


def test_lost_config_map_is_written_again_with_the_current_schemas() -> None:
    cluster = shop(
        broker(), *(wide(n, "a", "Previous") for n in range(FITTING + 1)), publisher(FITTING + 1)
    ).settle()
    cluster.put(wide(FITTING, "b", "Previous"))
    cluster.settle()
    affected = cluster.drop(*FILES)
    assert key_of("checkout") in affected
    assert len(named(cluster)) == len(files_of(cluster)) == 1


def test_changed_file_is_restored() -> None:
    cluster = with_policies(FITTING + 1)
    made = cluster.objects[FILES]
    (name,) = files_of(cluster)
    affected = cluster.put({**made, "data": {**made["data"], name: "true"}})
    assert key_of("checkout") in affected
    assert told(cluster)[:2] == ("False", "SchemasPending")
    cluster.settle()
    assert cluster.objects[FILES]["data"] == made["data"]
    assert told(cluster)[:2] == ("True", "InConfigMap")


def test_config_map_of_another_owner_is_left_alone() -> None:
    cluster = with_policies(FITTING)
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": FILES[1].name,
            "namespace": "shop",
            "labels": {
                MANAGED_BY: "troth",
                "troth.dev/owner-kind": "TrustDomain",
                "troth.dev/owner-name": "production",
            },
        },
        "data": {"ca.crt": "theirs"},
    }
    cluster.put(wide(FITTING))
    cluster.put(publisher(FITTING + 1))
    cluster.put(theirs)
    plan = cluster.plan(key_of("checkout"))
    assert step_for(plan, Apply) is None
    assert told(cluster)[:2] == ("False", "Conflict")
    affected = cluster.drop(*FILES)
    assert key_of("checkout") in affected
    assert told(cluster.settle())[:2] == ("True", "InConfigMap")


def test_config_map_that_is_not_managed_by_troth_is_left_alone_and_checked_again() -> None:
    cluster = with_policies(FITTING)
    cluster.put(wide(FITTING))
    cluster.put(publisher(FITTING + 1))
    cluster.world.observe_outcome(ForeignFound(*FILES, cluster.now))
    plan = cluster.plan(key_of("checkout"))
    assert step_for(plan, Apply) is None
    assert told(cluster)[:2] == ("False", "Conflict")
    assert plan.due == cluster.now + FOREIGN_RETRY
    cluster.now = plan.due
    assert step_for(cluster.plan(key_of("checkout")), Apply) is not None


def test_config_map_that_the_api_server_rejects_is_reported_and_tried_again() -> None:
    cluster = with_policies(FITTING + 1)
    cluster.world.observe_outcome(WriteRefused(*FILES, "quota exceeded", passing=False))
    assert told(cluster)[:2] == ("False", "WriteRefused")
    assert step_for(cluster.plan(key_of("checkout")), Apply) is not None


def test_identity_without_topics_plans_no_config_map() -> None:
    cluster = stage(checkout(publishes=[]))
    cluster.settle()
    assert told(cluster) == ("", "", "")
    assert FILES not in cluster.objects


@pytest.mark.parametrize("names_first", [True, False])
def test_places_do_not_depend_on_the_order_of_declarations(names_first: bool) -> None:
    declared = [*map(wide, range(FITTING + 2)), publisher(FITTING + 2)]
    cluster = shop(broker(), *(declared if names_first else reversed(declared))).settle()
    assert [*named(cluster)] == [f"shop/p{number}" for number in (FITTING, FITTING + 1)]
