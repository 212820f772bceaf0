"""Handlers that apply, delete and change single objects."""

from troth.cluster.errors import ApiError
from troth.planning.steps.objects import Apply, Remove, RemoveLedger, Restart, SetFinalizers
from troth.reconcile.apply.context import Context
from troth.reconcile.apply.writer import CONFLICT, NOT_FOUND, TryAgain
from troth.resources.schema.scalars import format_time
from troth.world.facts.objects import RESTARTED_WITH, Manifest
from troth.world.keys import Keys


async def apply_object(context: Context, step: Apply) -> Keys:
    """Apply an object."""
    fact = step.known(context.world)
    if fact is None and step.over:  # the object that it derives from is gone
        raise TryAgain
    manifest = with_every_list(step.manifest)
    return await context.writer.put(manifest, fact.uid if fact else "", step.over)


def with_every_list(manifest: Manifest) -> Manifest:
    """Return a manifest in which a NetworkPolicy has all its lists, including empty ones.

    A server-side apply ignores absent lists. Rules that somebody added to a policy without rules
    would stay.
    """
    if manifest["kind"] != "NetworkPolicy":
        return manifest
    return {**manifest, "spec": {"ingress": [], "egress": [], **manifest["spec"]}}


async def remove(context: Context, step: Remove) -> Keys:
    """Delete the object with the known uid."""
    try:
        answer = await context.server.delete(step.kind, step.ref, step.uid)
    except ApiError as error:
        if error.status == CONFLICT:
            raise TryAgain from error  # another object of that name, which the informer will report
        if error.status != NOT_FOUND:
            raise
    else:
        if answer.get("metadata", {}).get("finalizers"):  # somebody else's finalizers keep it
            return context.writer.observe({**answer, "kind": step.kind})
    affected = context.world.forget_uid(step.kind, step.ref, step.uid, context.clock.uptime())
    # otherwise a Secret that is created next counts as a change of this one
    if step.kind == "Secret" and not context.world.knows("Secret", step.ref):
        context.keyring.forget(step.ref)
    return affected


async def remove_ledger(context: Context, step: RemoveLedger) -> Keys:
    """Delete the ledger of a broker; its warning becomes an Event."""
    return await remove(context, step)


async def restart(context: Context, step: Restart) -> Keys:
    """Change a workload's pod template as `kubectl rollout restart` does."""
    annotations = {
        "kubectl.kubernetes.io/restartedAt": format_time(context.clock.now()),
        RESTARTED_WITH: step.evidence,
    }
    patch = {
        "metadata": {"uid": step.uid, "resourceVersion": step.resource_version},
        "spec": {"template": {"metadata": {"annotations": annotations}}},
    }
    return await context.writer.merge(step.kind, step.ref, patch)


async def set_finalizers(context: Context, step: SetFinalizers) -> Keys:
    """Set the finalizers of a resource, if it still exists.

    With `known_as`, the world takes in only the metadata of the answer.
    """
    patch = {
        "metadata": {
            "uid": step.uid,
            "resourceVersion": step.resource_version,
            "finalizers": list(step.finalizers),
        }
    }
    try:
        answer = await context.server.merge_patch(step.kind, step.ref, patch)
    except ApiError as error:
        if error.status == NOT_FOUND:
            return set()
        if error.status == CONFLICT:
            raise TryAgain from error
        raise
    if answer["metadata"].get("deletionTimestamp") and not step.finalizers:
        uptime = context.clock.uptime()
        known = step.known_as or step.kind
        return context.world.forget_uid(known, step.ref, step.uid, uptime)
    if step.known_as:
        return context.writer.observe({"kind": step.known_as, "metadata": answer["metadata"]})
    return context.writer.take_answer(patch, answer)
