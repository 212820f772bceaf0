"""Handlers that create and replace an identity's credential at a broker."""

from troth.planning.steps.broker_credentials import ChangeCredential
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.secrets.credential_secrets import credential_secret, replacing
from troth.reconcile.apply.writer import TryAgain
from troth.world.keys import Keys


async def change_credential(context: Context, step: ChangeCredential) -> Keys:
    """Create or replace the Secret of a credential, if it is unchanged since planning."""
    before = context.keyring.credential_data(step)
    if before is None:
        raise TryAgain
    secret = credential_secret(step, before, context.clock.now())
    if not step.uid:
        return await context.writer.put(secret, "")
    return await context.writer.merge(*step.target, replacing(step, secret, before))
