"""Intake of objects: their keys go into the keyring, their facts into the world.

A faulty object is never an error here: an unreadable object is quarantined and logged.
"""

import structlog

from troth.reconcile.apply.keys.keyring import Keyring
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.keys import Keys
from troth.world.origin import origin
from troth.world.watch_class import watch_class_of
from troth.world.world import World

log = structlog.get_logger()


def take_in(manifest: Manifest, world: World, keyring: Keyring, uptime: float) -> Keys:
    """Take in an object as it is at `uptime`; return the affected keys."""
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
    """Take a Secret's keys into the keyring; return the Secret, marked unreadable if that fails."""
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
