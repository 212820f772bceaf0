"""Handlers that issue certificates and write the public part of their Secrets."""

import asyncio

from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.key_material import is_slow, leaf_secret, public_data
from troth.world.keys import Keys


async def issue_leaf(context: Context, step: IssueLeaf) -> Keys:
    """Issue a key and certificate into the Secret, if it is unchanged since planning.

    Raises `KeyNotReady` if the key takes long to generate, and does not exist yet.
    """
    signer = context.signer(step.authority_secret, step.trust_domain, step.authority)
    key = context.private_key(step.target, step.algorithm)
    now = context.clock.now()
    if is_slow(step, signer):
        secret = await asyncio.to_thread(leaf_secret, step, key, signer, now)
    else:
        secret = leaf_secret(step, key, signer, now)
    return await context.writer.put(secret, step.uid, step.resource_version)


async def update_public(context: Context, step: UpdatePublic) -> Keys:
    """Write the public part of a Secret; its key and certificate stay the same."""
    written = step.manifest["metadata"]
    metadata = {"uid": step.uid, "labels": written["labels"]}
    if step.over:
        metadata["resourceVersion"] = step.over
    if "annotations" in written:
        metadata["annotations"] = written["annotations"]
    data = public_data(step.manifest) | dict.fromkeys(step.drops)
    _, ref = step.target
    return await context.writer.patch_secret(ref, {"metadata": metadata, "data": data})
