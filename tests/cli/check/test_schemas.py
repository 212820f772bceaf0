"""`troth check` compares the schemas of messages with those of before."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.broker_builders import orders
from tests.builders import OWN, Manifest
from tests.cli.api_server import serving
from tests.cli.market import market
from tests.cli.running import Ended, troth
from tests.messaging import broker
from troth.cluster.resources import RESOURCES
from troth.reconcile.loop.informers import selections
from troth.world.watch_class import SCHEMA

OLD = {"type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": False}
NEW = OLD | {"properties": {"id": {"type": "string"}, "total": {"type": "number"}}}
PLURALS = {each.kind: RESOURCES[each.kind].name for each in selections(OWN)}
REFERRING = {
    "configMapRef": {"name": "schemas", "key": "orders.json"},
    "accept": "Previous",
}


def kept(schema: Any) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "schemas", "namespace": "shop", "labels": {SCHEMA: "true"}},
        "data": {"orders.json": json.dumps(schema)},
    }


def written(folder: Path, name: str, *manifests: Manifest) -> Path:
    """Write the market into a file, with a broker that is not reached."""
    file = folder / name
    file.write_text(yaml.safe_dump_all(market(broker(mode="Plan"), *manifests)))
    return file


def checked(now: Path, before: Path | str, *more: str, given: bytes = b"") -> list[dict[str, Any]]:
    """Return the findings about schemas."""
    arguments = ("check", "-f", str(now), "--against", str(before), "-o", "json", *more)
    ended = troth(*arguments, given=given)
    found = json.loads(ended.output)["findings"]
    return [each for each in found if each["reason"].startswith("Schema")]


def in_json(schema: Any, accept: str = "Previous") -> Manifest:
    """Return the policy with a JSON Schema."""
    return orders(schema={"jsonSchema": schema, "accept": accept})


def compared(folder: Path, old: Any, new: Any, accept: str = "Previous") -> list[dict[str, Any]]:
    before = written(folder, "before.yaml", in_json(old, accept))
    return checked(written(folder, "now.yaml", in_json(new, accept)), before)


def test_incompatible_change_is_a_warning_at_the_field_of_the_schema(tmp_path: Path) -> None:
    (found,) = compared(tmp_path, OLD, NEW)
    assert (found["severity"], found["reason"]) == ("warning", "SchemaIncompatible")
    assert (found["kind"], found["namespace"], found["name"]) == ("TopicPolicy", "shop", "orders")
    assert found["field"] == "spec.schema.jsonSchema"
    lines = (tmp_path / "now.yaml").read_text().splitlines()
    assert lines[found["line"] - 1].strip() == "jsonSchema:"
    assert found["message"] == (
        "the schema is incompatible with consumers of the old one, at /total: the property is not "
        "allowed; upgrade the consumers before the producers send messages of the new schema"
    )


def test_incompatible_change_for_producers_says_what_to_do(tmp_path: Path) -> None:
    _, found = compared(tmp_path, NEW, OLD, "Current")
    assert (found["severity"], found["reason"]) == ("warning", "SchemaIncompatible")
    assert "incompatible with producers of the old one, at /total" in found["message"]
    assert "set schema.accept: Previous" in found["message"]


def test_incompatible_change_for_producers_is_a_notice_while_the_old_schema_is_accepted(
    tmp_path: Path,
) -> None:
    (found,) = compared(tmp_path, NEW, OLD)
    assert (found["severity"], found["reason"]) == ("notice", "SchemaIncompatible")
    assert found["message"].endswith("; upgrade the producers first")


def test_any_change_is_a_warning_if_only_the_current_schema_is_accepted(tmp_path: Path) -> None:
    """Consumers choose the schema of a message by its digest."""
    (found,) = compared(tmp_path, OLD, OLD | {"title": "new"}, "Current")
    assert (found["severity"], found["reason"]) == ("warning", "SchemaReplaced")
    assert found["field"] == "spec.schema.jsonSchema"
    assert found["message"] == (
        "consumers reject messages of the old schema that are still in the topic, even if they are "
        "valid in the new one; set schema.accept: Previous until the old messages are consumed"
    )
    assert compared(tmp_path, OLD, dict(reversed(OLD.items())), "Current") == []


def test_change_that_the_rules_cannot_decide_is_a_notice(tmp_path: Path) -> None:
    pattern = {"type": "string", "pattern": "^a"}
    found = compared(tmp_path, pattern, pattern | {"pattern": "^b"})
    assert {(each["severity"], each["reason"]) for each in found} == {("notice", "SchemaUndecided")}
    assert "the schema may be incompatible" in found[0]["message"]


def test_compatible_change_is_no_finding(tmp_path: Path) -> None:
    assert compared(tmp_path, OLD, OLD | {"title": "new"}) == []


def test_change_of_the_format_is_a_finding(tmp_path: Path) -> None:
    avro = {"type": "record", "name": "Order", "fields": []}
    before = written(tmp_path, "before.yaml", in_json(OLD))
    now = written(tmp_path, "now.yaml", orders(schema={"avro": avro, "accept": "Previous"}))
    found = checked(now, before)
    assert len(found) == 2
    assert "the format is Avro instead of JSONSchema" in found[0]["message"]


def test_schema_in_a_config_map_is_compared_and_named(tmp_path: Path) -> None:
    before = written(tmp_path, "before.yaml", orders(schema=REFERRING), kept(OLD))
    now = written(tmp_path, "now.yaml", orders(schema=REFERRING), kept(NEW))
    (found,) = checked(now, before)
    assert (found["kind"], found["name"], found["field"]) == (
        "ConfigMap",
        "schemas",
        "data.orders.json",
    )
    lines = now.read_text().splitlines()
    assert "orders.json" in lines[found["line"] - 1]


def test_manifests_of_before_may_come_from_standard_input(tmp_path: Path) -> None:
    before = written(tmp_path, "before.yaml", in_json(OLD))
    now = written(tmp_path, "now.yaml", in_json(NEW))
    assert len(checked(now, "-", given=before.read_bytes())) == 1


def test_assumed_manifests_are_of_before_too(tmp_path: Path) -> None:
    before = written(tmp_path, "before.yaml", in_json(OLD))
    now = written(tmp_path, "now.yaml", in_json(NEW))
    ended = troth("check", "-f", str(now), "--assume", str(before), "-o", "json")
    assert "SchemaIncompatible" in ended.output


def test_schema_in_the_cluster_is_the_one_of_before(tmp_path: Path) -> None:
    objects: dict[str, list[Manifest]] = {plural: [] for plural in PLURALS.values()}
    for each in market(broker(mode="Plan"), orders(schema=REFERRING), kept(OLD)):
        objects.setdefault(PLURALS[each["kind"]], []).append(each)
    now = written(tmp_path, "now.yaml", orders(schema=REFERRING), kept(NEW))
    with serving(tmp_path, objects) as served:
        ended = told("-f", str(now), "--kubeconfig", str(served.kubeconfig), "-o", "json")
    found = [each["reason"] for each in json.loads(ended.output)["findings"]]
    assert found.count("SchemaIncompatible") == 1, ended


def told(*arguments: str) -> Ended:
    return troth("check", *arguments)


def test_incompatible_change_decides_the_exit_code(tmp_path: Path) -> None:
    before = written(tmp_path, "before.yaml", in_json(OLD))
    now = written(tmp_path, "now.yaml", in_json(NEW))
    same = told("-f", str(before), "--against", str(before))
    assert same.code == 0, same
    assert told("-f", str(now), "--against", str(before)).code == 1
    assert told("-f", str(now), "--against", str(before), "--fail-on", "error").code == 0


def test_policy_of_before_that_is_invalid_today_is_not_compared(tmp_path: Path) -> None:
    broken = orders(schema={"jsonSchema": OLD}, invented=True)
    before = written(tmp_path, "before.yaml", broken)
    now = written(tmp_path, "now.yaml", in_json(NEW))
    assert checked(now, before) == []


@pytest.mark.parametrize("text", ["a: [", "- 7"])
def test_unreadable_manifests_of_before_are_an_unusable_input(tmp_path: Path, text: str) -> None:
    now = written(tmp_path, "now.yaml", orders())
    (tmp_path / "before.yaml").write_text(text)
    ended = told("-f", str(now), "--against", str(tmp_path / "before.yaml"))
    assert ended.code == 2
    assert "before.yaml" in ended.errors


def test_standard_input_cannot_be_both(tmp_path: Path) -> None:
    ended = told("-f", "-", "--against", "-")
    assert ended.code == 2
    assert "-f and --against both name standard input" in ended.errors
