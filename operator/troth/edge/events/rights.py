"""The rights of this workload at a policy, from `identity.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from troth.documents.identity.document import Messages, MessageSchema
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.identity.snapshot import Snapshot
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle

CARRIED = {"Subject": "authid", "Tenant": "trothtenant", "RequestID": "trothtxn"}
"""Attributes that carry the context items of a policy."""
_VERBS = {"Publish": "publish", "Consume": "consume", "Review": "review dead letters"}


@dataclass(frozen=True)
class Rights:
    """Rights at one policy, as one snapshot of the identity's files has them.

    `bundles` verify producers, with authorities that were retired within the policy's maximum age.
    """

    snapshot: Snapshot = field(repr=False)
    granted: Messages

    @property
    def bundles(self) -> Mapping[str, SPIFFEBundle]:
        """Bundles that verify producers, by trust domain."""
        return self.snapshot.event_bundles

    @property
    def reviewers(self) -> frozenset[str]:
        """SPIFFE IDs whose redrives and records a reviewer continues: its own ones."""
        return self.granted.reviewers | {self.snapshot.spiffe_id}

    @cached_property
    def schemas(self) -> Mapping[str, MessageSchema]:
        """Accepted schemas by the value of `dataschema`, the current one first."""
        return {data_schema(self.granted.policy, each): each for each in self.granted.schemas}

    @cached_property
    def required(self) -> frozenset[str]:
        """Attributes that carry the required context items."""
        require = self.granted.context.require
        return frozenset(name for item, name in CARRIED.items() if item in require)

    def includes(self, topic: str) -> bool:
        """Return whether the policy includes a topic."""
        if self.granted.topic is not None:
            return topic == self.granted.topic
        return self.granted.prefix is not None and topic.startswith(self.granted.prefix)


def data_schema(policy: str, schema: MessageSchema) -> str:
    """Return the value of `dataschema`: the schema's digest (RFC 6920), and the policy.

    A Protobuf schema is a message of a set of files, so its name is there too.
    """
    message = f"&message={schema.message}" if schema.message is not None else ""
    return f"ni:///sha-256;{schema.digest}?policy={policy}{message}"


def rights_of(snapshot: Snapshot, policy: str, action: str, group: str | None) -> Rights:
    """Return the rights at a policy; raises `RejectedError` with `NotGranted` without them.

    `group` may be None if the workload consumes by the policy with one group alone.
    """
    found = [
        each
        for each in snapshot.document.messages
        if each.policy == policy
        and each.action == action
        and (group is None or each.group == group)
    ]
    if len(found) == 1:
        return Rights(snapshot, found[0])
    verb = _VERBS[action]
    if not found:
        detail = f"{snapshot.spiffe_id} has no grant to {verb} by the TopicPolicy {policy}"
    else:
        detail = f"{snapshot.spiffe_id} consumes by {policy} with several groups; name one of them"
    raise RejectedError(Reason.NOT_GRANTED, detail)
