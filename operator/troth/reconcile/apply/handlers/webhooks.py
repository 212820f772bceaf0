"""Handlers for the keys that Troth generates for webhook senders, and for compiled endpoints.

Keys are read when they are copied, and not kept in memory.
"""

from collections.abc import Mapping

from troth.cluster.errors import ApiError
from troth.planning.steps.webhooks import ChangeWebhookKeys, CompileEndpoint
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.secrets.webhook_secrets import compiled, keys_patch, new_secret
from troth.reconcile.apply.writer import NOT_FOUND, TryAgain
from troth.resources.references import Ref
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.keys import Keys
from troth.world.observation.secret_data import SecretData
from troth.world.observation.webhook_secrets import fingerprint, is_generated, is_given


async def change_keys(context: Context, step: ChangeWebhookKeys) -> Keys:
    """Add and remove keys that Troth generates."""
    now = context.clock.now()
    if not step.uid:
        return await context.writer.put(new_secret(step, now), "")
    return await context.writer.merge(*step.target, keys_patch(step, now))


async def compile_endpoint(context: Context, step: CompileEndpoint) -> Keys:
    """Write the compiled endpoint for its gateway."""
    secret = compiled(step, await _keys(context, step))
    known = context.world.webhooks.compiled.get(Ref.of(secret))
    if known is None:
        return await context.writer.put(secret, "")
    metadata = {
        "uid": known.uid,
        "resourceVersion": known.resource_version,
        "labels": secret["metadata"]["labels"],
        "annotations": secret["metadata"]["annotations"],
    }
    # an apply would keep keys that somebody else added
    goes = dict.fromkeys(known.names - secret["data"].keys())
    patch = {"metadata": metadata, "data": {**goes, **secret["data"]}}
    return await context.writer.merge("Secret", known.ref, patch)


async def _keys(context: Context, step: CompileEndpoint) -> Mapping[str, bytes]:
    """Return the keys that the step was planned with; raises `TryAgain` if any has changed."""
    if step.source is None:
        return {}
    try:
        found = await context.server.get("Secret", step.source)
    except ApiError as error:
        if error.status == NOT_FOUND:
            raise TryAgain from error
        raise
    if not (is_given(found) or is_generated(found)):  # its label was removed meanwhile
        raise TryAgain
    data, uid = SecretData(found), found["metadata"].get("uid", "")
    keys = {key: data.value(key, LONGEST_KEY) for key in step.keys if key in data}
    if {key: fingerprint(uid, text) for key, text in keys.items()} != dict(step.keys):
        raise TryAgain
    return keys
