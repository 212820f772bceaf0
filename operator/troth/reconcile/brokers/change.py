"""Carrying out one change at a broker: what it is told, and whether what was revoked is dead."""

from dataclasses import replace
from typing import Protocol

from troth.brokers.protocol import Batch, Credential, Driver, Login
from troth.planning.steps.brokers import ChangeBroker, Telling
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import credential_ref, identity_of

TRIED = 20
"""How many revoked credentials of one change are tried from outside."""

SPOILT = (
    "its Secret does not hold the credential that it names; delete the Secret, and Troth issues "
    "another credential"
)

Failed = dict[Rule | Place, str]
"""The changes that a broker did not carry out, and why."""


class Credentials(Protocol):
    """What is in the Secrets of credentials, by broker type, Secret and fingerprint."""

    def credential(self, type_: BrokerType, secret: Ref, fingerprint: str) -> Credential | None:
        """Return what a broker is told, None where the Secret does not have it."""

    def login(self, type_: BrokerType, secret: Ref, fingerprint: str) -> Login | None:
        """Return what a client has, also after the Secret is gone, None where it is not known."""

    def drop_credential(self, secret: Ref, fingerprint: str) -> None:
        """Forget a credential that is revoked."""


class Changes:
    """Carries changes out, with credentials from the Secrets of those whose they are."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def carry_out(self, broker: MessageBroker, adapter: Driver, step: ChangeBroker) -> Failed:
        """Carry out a change, and return what failed; raises `BrokerError`."""
        failed = await self._apply(broker.spec.type, adapter, step)
        if step.revocations:
            failed |= await self._make_sure(broker, adapter, step, failed)
        return failed

    def forget_revoked(self, broker: MessageBroker, step: ChangeBroker, failed: Failed) -> None:
        """Forget how clients logged in with what is revoked now."""
        for place in step.revocations:
            secret = _secret_of(broker, place)
            if place not in failed and secret is not None:
                fingerprint = step.before.credentials.get(place, "")
                self._credentials.drop_credential(secret, fingerprint)

    async def _apply(self, type_: BrokerType, adapter: Driver, step: ChangeBroker) -> Failed:
        """Carry out a change, and return what failed. A credential whose Secret does not hold it
        fails, and the rules of its principal wait.
        """
        found = [(each, self._credential(type_, each)) for each in step.telling]
        lacking = {(each.principal, each.slot) for each, held in found if held is None}
        waiting = {principal for principal, _ in lacking}
        failures = await adapter.apply(
            Batch(
                tuple(held for _, held in found if held is not None),
                tuple(rule for rule in step.additions if rule.principal not in waiting),
                step.removals,
                step.revocations,
            )
        )
        kept_back = [rule for rule in step.additions if rule.principal in waiting]
        return {
            **dict.fromkeys(lacking, SPOILT),
            **dict.fromkeys(kept_back, "not applied, because its credential failed"),
            **{failure.change: failure.message for failure in failures},
        }

    def _credential(self, type_: BrokerType, telling: Telling) -> Credential | None:
        """Return what is told; whose it is was planned, and is never believed of a Secret."""
        found = self._credentials.credential(type_, telling.secret, telling.fingerprint)
        whose = (telling.principal, telling.slot)
        return found if found is not None and (found.principal, found.slot) == whose else None

    async def _make_sure(
        self, broker: MessageBroker, adapter: Driver, step: ChangeBroker, failed: Failed
    ) -> Failed:
        """End the connections of those who lost their last credential, and try what was revoked.

        Returns the credentials that still let somebody in.
        """
        revoked = [place for place in step.revocations if place not in failed]
        left = {principal for principal, _ in step.after.credentials}
        await adapter.disconnect({principal for principal, _ in revoked} - left)
        still: Failed = {}
        for place in revoked[:TRIED]:
            login = self._login(broker, place, step.before)
            if login is not None and await adapter.admits(login):
                still[place] = "the broker still accepts it; Troth revokes it again"
        return still

    def _login(self, broker: MessageBroker, place: Place, ledger: Ledger) -> Login | None:
        secret = _secret_of(broker, place)
        fingerprint = ledger.credentials.get(place, "")
        return self._credentials.login(broker.spec.type, secret, fingerprint) if secret else None


def principals_of(step: ChangeBroker) -> set[str]:
    """Return everybody whom a change concerns."""
    told = {each.principal for each in step.telling}
    ruled = {rule.principal for rule in (*step.additions, *step.removals)}
    return told | ruled | {principal for principal, _ in step.revocations}


def as_it_went(step: ChangeBroker, failed: Failed) -> Ledger:
    """Return the ledger after a change: what failed is as it was before."""
    before, after = step.before, step.after
    credentials = dict(after.credentials)
    for change in failed:
        if isinstance(change, tuple) and change in before.credentials:
            credentials[change] = before.credentials[change]
    kept = frozenset(rule for rule in before.rules - after.rules if rule in failed)
    return replace(after, rules=after.rules | kept, credentials=credentials)


def as_observed(before: Observed, step: ChangeBroker, failed: Failed) -> Observed:
    """Return what a broker has after a change, as far as that did not fail."""
    told = {(each.principal, each.slot) for each in step.telling}
    rules = before.rules | {rule for rule in step.additions if rule not in failed}
    return Observed(
        (before.credentials | {place for place in told if place not in failed})
        - {place for place in step.revocations if place not in failed},
        rules - {rule for rule in step.removals if rule not in failed},
    )


def _secret_of(broker: MessageBroker, place: Place) -> Ref | None:
    identity = identity_of(broker.spec.owns.principal_prefix, place[0])
    return credential_ref(identity, broker.ref) if identity is not None else None
