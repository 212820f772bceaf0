"""The pages about brokers agree with the code: reasons, numbers and rules."""

from types import ModuleType

import pytest

from tests.guides.pages import page, reasons, unexplained
from troth.brokers import admin_secret
from troth.brokers.kafka import principals as kafka_principals
from troth.planning.brokers import admin_rotation, next_step
from troth.planning.brokers import status as broker_status
from troth.planning.brokers import work as broker_work
from troth.planning.grants import exclusive
from troth.planning.grants import status as grant_status
from troth.planning.grants.finalizer import FINALIZER, PATIENCE
from troth.planning.identity.messages.schema_room import FILES_ROOM, ROOM
from troth.reconcile.brokers import change as broker_change
from troth.reconcile.brokers import faults as broker_faults
from troth.resources.messaging.names import NAME_LIMIT
from troth.resources.messaging.schemas import avro, json_schema, protobuf, schema_text
from troth.trust.topics import checks, retries, reviewing
from troth.trust.topics import groups as topic_groups
from troth.world.watch_class import SCHEMA as LABEL

GUIDE = page("brokers.md", "reference/brokers.md")


@pytest.mark.parametrize(
    "module",
    [
        *(
            checks,
            topic_groups,
            retries,
            reviewing,
            exclusive,
            grant_status,
            broker_status,
            next_step,
            broker_faults,
        ),
        *(json_schema, avro, protobuf),
    ],
    ids=lambda module: module.__name__,
)
def test_guide_has_every_reason(module: ModuleType) -> None:
    assert set(reasons(module))
    assert unexplained(module, GUIDE) - {"ConfigMap"} == set()


def test_rotation_reference_has_every_reason_of_an_admin_credential() -> None:
    assert "MechanismTaken" in set(reasons(admin_rotation))
    assert unexplained(admin_rotation, page("reference/rotation.md")) == set()


def test_certificate_rule_of_the_guide_is_the_one_for_principals() -> None:
    assert f"rules={kafka_principals.mapping_rule('troth-prod-')}\n" in GUIDE


@pytest.mark.parametrize(
    "said",
    [
        f"**{PATIENCE.seconds // 60} minutes** after their deletion",
        f"finalizer `{FINALIZER}`",
        f"kubectl annotate mb/main --namespace messaging {broker_work.ALLOW_REMOVALS}=37",
        f"up to {broker_change.TRIED} of the credentials",
        f"| credentials in one change | {broker_work.AT_ONCE}; the rest follows |",
        f"| entries in a policy's `status.grants` | {grant_status.GRANT_LIMIT},",
        f"| a topic's or group's name; a principal's prefix | {NAME_LIMIT} characters; 64 |",
        f"| a value in an admin Secret | {admin_secret.LONGEST // 1024} KiB |",
        f"{schema_text.MOST_BYTES // 1024} KiB; {ROOM // 1024} KiB; {FILES_ROOM // 1024} KiB |",
        f'labels: {{{LABEL}: "true"}}',
    ],
)
def test_numbers_and_names_are_those_of_the_code(said: str) -> None:
    assert said in " ".join(GUIDE.split())
