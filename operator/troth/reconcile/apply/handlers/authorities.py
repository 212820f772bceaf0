"""Handlers that create a trust domain's CA, and that rotate it."""

import asyncio
import base64

from troth.planning.steps.authorities import (
    ActivateRoot,
    AddPlain,
    AdoptAuthority,
    CopyAuthority,
    CreateRoot,
    DropSlots,
    PrepareRoot,
    UpdateRetired,
)
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.keys.key_material import (
    adopted_secret,
    next_given,
    next_root,
    plain_root,
    root_secret,
)
from troth.reconcile.apply.secrets.secret_patches import drops, merge_data, unchanged
from troth.world.keys import Keys
from troth.world.observation.retired import RETIRED


async def create_root(context: Context, step: CreateRoot) -> Keys:
    """Create a root in a new Secret."""
    secret = await asyncio.to_thread(root_secret, step, context.clock.now())
    return await context.writer.put(secret, "")


async def adopt_authority(context: Context, step: AdoptAuthority) -> Keys:
    """Copy the given CA into a new Secret."""
    signer = context.signer(step.source, step.trust_domain, step.authority)
    return await context.writer.put(adopted_secret(step, signer), "")


async def add_plain(context: Context, step: AddPlain) -> Keys:
    """Add the plain certificate of the active root to its Secret."""
    signer = context.signer(step.ref, step.trust_domain, step.authority)
    data = await asyncio.to_thread(plain_root, signer)
    return await context.writer.patch_secret(step.ref, merge_data(step, data))


async def prepare_root(context: Context, step: PrepareRoot) -> Keys:
    """Add the next root to the Secret of the active one."""
    data = await asyncio.to_thread(next_root, step, context.clock.now())
    return await context.writer.patch_secret(step.ref, merge_data(step, data))


async def copy_authority(context: Context, step: CopyAuthority) -> Keys:
    """Add the given CA to the Secret of the active one."""
    data = next_given(context.signer(step.source, step.trust_domain, step.authority))
    return await context.writer.patch_secret(step.ref, merge_data(step, data))


async def activate_root(context: Context, step: ActivateRoot) -> Keys:
    """Replace the active CA with the next one."""
    moves = [
        {"op": "move", "from": f"/data/{old}", "path": f"/data/{new}"} for old, new in step.moves
    ]
    return await context.writer.patch_secret(
        step.ref, [*unchanged(step), *moves, *drops(step.drops)]
    )


async def drop_slots(context: Context, step: DropSlots) -> Keys:
    """Remove keys of the Secret of a CA or an issuer."""
    return await context.writer.patch_secret(step.ref, [*unchanged(step), *drops(step.slots)])


async def update_retired(context: Context, step: UpdateRetired) -> Keys:
    """Write the records of retired roots or keys, and remove their slots in the same write."""
    operations = [*unchanged(step), *drops(step.slots)]
    if step.records:
        value = base64.b64encode(step.records).decode()
        operations.append({"op": "add", "path": f"/data/{RETIRED}", "value": value})
    return await context.writer.patch_secret(step.ref, operations)
