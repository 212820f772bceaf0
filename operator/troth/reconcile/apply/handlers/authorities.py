"""Handlers that create a trust domain's CA, and that rotate it."""

import asyncio
import base64

from troth.cluster.errors import ApiError
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
from troth.planning.trust_domain.authority import taken_fault
from troth.planning.trust_domain.view import gather_rivals
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.keys.key_material import (
    adopted_secret,
    next_given,
    next_root,
    plain_root,
    root_secret,
)
from troth.reconcile.apply.secrets.secret_patches import drops, merge_data, unchanged
from troth.reconcile.apply.writer import NOT_FOUND, TryAgain
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import OWNER_NAME, Manifest
from troth.world.keys import Keys
from troth.world.observation.retired import RETIRED
from troth.world.reader import Reader


async def create_root(context: Context, step: CreateRoot) -> Keys:
    """Create a root in a new Secret."""
    secret = await asyncio.to_thread(root_secret, step, context.clock.now())
    return await _put_first(context, step, secret)


async def adopt_authority(context: Context, step: AdoptAuthority) -> Keys:
    """Copy the given CA into a new Secret."""
    signer = context.signer(step.source, step.trust_domain, step.authority)
    return await _put_first(context, step, adopted_secret(step, signer))


async def _put_first(context: Context, step: CreateRoot | AdoptAuthority, secret: Manifest) -> Keys:
    """Write the first authority of a TrustDomain.

    Since planning, another TrustDomain may have got the SPIFFE trust domain: it is older and was
    observed late, or its authority has been written. Such an authority may be unknown here if the
    answer was lost or the cache lags, so the API server is asked. Raises `TryAgain` in these cases.
    """
    async with context.first_authority:
        domains = context.world.registry.domains
        domain = domains.get(secret["metadata"]["labels"][OWNER_NAME])
        if domain is None:
            raise TryAgain
        rivals = gather_rivals(domain, Reader(context.world))
        if taken_fault(domain, rivals) is not None:
            raise TryAgain
        for each in domains.values():
            if each.spec.domain == step.trust_domain and each is not domain:
                await _require_none(context, each)
        return await context.writer.put(secret, "")


async def _require_none(context: Context, other: TrustDomain) -> None:
    """Raise `TryAgain` if a TrustDomain has an authority at the API server."""
    try:
        found = await context.server.metadata("Secret", context.world.authorities.ref(other))
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return
    labels = found["metadata"].get("labels") or {}
    if labels.get(OWNER_NAME) == other.metadata.name:
        raise TryAgain


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
