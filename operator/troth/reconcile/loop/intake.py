"""Taking an object into what Troth knows: its keys into the keyring, its facts into the world.

Nothing about one object is an error here: what cannot be read goes into quarantine, and is logged.
"""

import structlog

from troth.reconcile.apply.keyring import Keyring
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.keys import Keys
from troth.world.origin import origin
from troth.world.watch_class import watch_class_of
from troth.world.world import World

log = structlog.get_logger()


def take_in(manifest: Manifest, world: World, keyring: Keyring, uptime: float) -> Keys:
    """Take in an object as the API server has it at `uptime`; return whom it affects."""
    if not world.is_news(manifest):
        return set()
    kind, ref = watch_class_of(manifest, world.own_namespace), Ref.of(manifest)
    if manifest["kind"] == "Secret":
        manifest = _taken_into(keyring, manifest, ref)
    affected = world.observe(manifest, uptime)
    warn_if_unreadable(world, kind, ref)
    return affected


def warn_if_unreadable(world: World, kind: str, ref: Ref) -> None:
    """Log that an object cannot be read, or could not be forgotten."""
    because = world.quarantined.get((kind, ref))
    if because is not None:
        log.warning("object unreadable", kind=kind, object=str(ref), why=because)


def _taken_into(keyring: Keyring, secret: Manifest, ref: Ref) -> Manifest:
    """Take in a Secret's keys; return it, unreadable where that fails: then there are none."""
    try:
        if UNREADABLE in secret:
            keyring.forget(ref)
        else:
            keyring.observe(secret)
    except Exception as error:  # noqa: BLE001 - one Secret must not stop the others
        keyring.drop(ref)
        because = f"Troth failed to read its keys ({origin(error)}); please report this as a bug"
        return {**secret, UNREADABLE: because}
    return secret
