"""Execution of one change at a broker, and tests of revoked credentials."""

from dataclasses import replace
from typing import Protocol

from troth.brokers.protocol import Batch, Credential, Driver, Login
from troth.planning.steps.brokers import ChangeBroker, CredentialUpload
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.trust.grants import Observed, Place, Rule
from troth.world.facts.broker import Ledger
from troth.world.index.broker_keys import identity_of
from troth.world.index.brokers import credential_ref

TRIED = 20
"""Maximum number of revoked credentials of one change that are tested by a login."""

NOT_HELD = (
    "its Secret does not hold the credential that it names; delete the Secret, and Troth issues "
    "another credential"
)

Failed = dict[Rule | Place, str]
"""The changes that a broker did not carry out, and why."""


class Credentials(Protocol):
    """Credentials in Secrets, by broker type, Secret and fingerprint."""

    def credential(self, type_: BrokerType, secret: Ref, fingerprint: str) -> Credential | None:
        """Return a credential as the broker needs it, None if the Secret does not have it."""

    def login(self, type_: BrokerType, secret: Ref, fingerprint: str) -> Login | None:
        """Return a client's login, even after the Secret is gone; None if unknown."""

    def drop_credential(self, secret: Ref, fingerprint: str) -> None:
        """Forget a credential that is revoked."""


class Changes:
    """Carries out changes at brokers, with the credentials from the Secrets of their principals."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def carry_out(self, broker: MessageBroker, adapter: Driver, step: ChangeBroker) -> Failed:
        """Carry out a change and return what failed; raises `BrokerError`."""
        failed = await self._apply(broker.spec.type, adapter, step)
        if step.revocations:
            failed |= await self._make_sure(broker, adapter, step, failed)
        return failed

    def forget_revoked(self, broker: MessageBroker, step: ChangeBroker, failed: Failed) -> None:
        """Forget the client logins of credentials that are now revoked."""
        for place in step.revocations:
            secret = _secret_of(broker, place)
            if place not in failed and secret is not None:
                fingerprint = step.before.credentials.get(place, "")
                self._credentials.drop_credential(secret, fingerprint)

    async def _apply(self, type_: BrokerType, adapter: Driver, step: ChangeBroker) -> Failed:
        """Carry out a change and return what failed.

        A credential that its Secret does not hold fails, and so do additional rules of its
        principal.
        """
        found = [(each, self._credential(type_, each)) for each in step.uploads]
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
            **dict.fromkeys(lacking, NOT_HELD),
            **dict.fromkeys(kept_back, "not applied, because its credential failed"),
            **{failure.change: failure.message for failure in failures},
        }

    def _credential(self, type_: BrokerType, upload: CredentialUpload) -> Credential | None:
        """Return the credential to set, None unless its principal and slot are the planned ones."""
        found = self._credentials.credential(type_, upload.secret, upload.fingerprint)
        whose = (upload.principal, upload.slot)
        return found if found is not None and (found.principal, found.slot) == whose else None

    async def _make_sure(
        self, broker: MessageBroker, adapter: Driver, step: ChangeBroker, failed: Failed
    ) -> Failed:
        """Disconnect principals that lost their last credential, and test revoked credentials.

        Returns the credentials that the broker still accepts.
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


def as_it_went(step: ChangeBroker, failed: Failed) -> Ledger:
    """Return the ledger after a change, in which failed changes keep their previous entries."""
    before, after = step.before, step.after
    credentials = dict(after.credentials)
    for change in failed:
        if isinstance(change, tuple) and change in before.credentials:
            credentials[change] = before.credentials[change]
    kept = frozenset(rule for rule in before.rules - after.rules if rule in failed)
    return replace(after, rules=after.rules | kept, credentials=credentials)


def as_observed(before: Observed, step: ChangeBroker, failed: Failed) -> Observed:
    """Return what a broker has after a change, without the parts that failed."""
    told = {(each.principal, each.slot) for each in step.uploads}
    rules = before.rules | {rule for rule in step.additions if rule not in failed}
    return Observed(
        (before.credentials | {place for place in told if place not in failed})
        - {place for place in step.revocations if place not in failed},
        rules - {rule for rule in step.removals if rule not in failed},
        before.openings,
    )


def _secret_of(broker: MessageBroker, place: Place) -> Ref | None:
    identity = identity_of(broker.spec.owns.principal_prefix, place[0])
    return credential_ref(identity, broker.ref) if identity is not None else None
