"""Handlers that create and rotate token signing keys, and that configure issuers."""

from troth.planning.steps.signing_keys import (
    ActivateTokenKey,
    CreateTokenKey,
    PrepareTokenKey,
    UpdateIssuer,
)
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.keys.key_material import (
    issuer_data,
    next_token_key,
    token_key_moves,
    token_key_secret,
)
from troth.reconcile.apply.secrets.secret_patches import merge_data, unchanged
from troth.world.keys import Keys
from troth.world.observation.objects import VIEW
from troth.world.outcomes.writes import IssuerViewWritten


async def create_token_key(context: Context, step: CreateTokenKey) -> Keys:
    """Create a key in a new Secret."""
    return await context.writer.put(token_key_secret(step, context.clock.now()), "")


async def prepare_token_key(context: Context, step: PrepareTokenKey) -> Keys:
    """Add the next key to the Secret of the active one."""
    data = next_token_key(step, context.clock.now())
    return await context.writer.patch_secret(step.ref, merge_data(step, data))


async def activate_token_key(context: Context, step: ActivateTokenKey) -> Keys:
    """Replace the active key with the next one."""
    return await context.writer.patch_secret(step.ref, [*unchanged(step), *token_key_moves(step)])


async def update_issuer(context: Context, step: UpdateIssuer) -> Keys:
    """Write an issuer's configuration; its keys stay the same."""
    data = issuer_data(step)
    affected = await context.writer.patch_secret(step.ref, merge_data(step, data))
    if VIEW in data:
        written = IssuerViewWritten(step.ref, context.clock.uptime())
        affected |= context.world.observe_outcome(written)
    return affected
