"""Handlers that issue certificates and write the public part of their Secrets."""

import asyncio

from troth.cluster.errors import ApiError
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.keys.key_material import (
    is_slow,
    leaf_secret,
    public_data,
    truststore_data,
)
from troth.reconcile.apply.writer import NOT_FOUND, TryAgain
from troth.world.facts.objects import KEYSTORE_DIGEST
from troth.world.keys import Keys
from troth.world.observation.objects import decoded


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
    if step.truststore:
        found = await _unchanged_data(context, step)
        truststore, digest = await asyncio.to_thread(truststore_data, step, found)
        data |= truststore
        metadata["annotations"] = {**metadata.get("annotations", {}), KEYSTORE_DIGEST: digest}
    return await context.writer.patch_secret(ref, {"metadata": metadata, "data": data})


async def _unchanged_data(context: Context, step: UpdatePublic) -> dict[str, bytes]:
    """Return the data of the Secret; raises `TryAgain` if it has changed since planning."""
    kind, ref = step.target
    try:
        found = await context.server.get(kind, ref)
    except ApiError as error:
        if error.status == NOT_FOUND:
            raise TryAgain from error
        raise
    metadata = found["metadata"]
    if (metadata.get("uid"), metadata.get("resourceVersion")) != (step.uid, step.over):
        raise TryAgain
    return decoded(found)
