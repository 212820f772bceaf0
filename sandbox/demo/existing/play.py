"""Plays the demo on a cluster that exists already, and removes all that it created there."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sandbox.cluster import Sandbox
from sandbox.demo import installation
from sandbox.demo.acts import show_acts
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.existing import objects, refusals
from sandbox.demo.existing.kubeconfig import self_contained
from sandbox.demo.play import conclude, operate
from sandbox.demo.programs import NAME, NAMESPACE
from sandbox.demo.screen import Screen
from sandbox.demo.setting import Setting
from sandbox.errors import SandboxError
from sandbox.processes import Tether


def play_on(screen: Screen, kubeconfig: Path, setting: Setting) -> bool:
    """Play on the cluster of a kubeconfig; return whether all trials are right.

    Raises `DemoError` if the demo cannot run there, before it changes anything.
    """
    if setting.uses_broker:
        setting.broker.prepare()
    began = time.monotonic()
    with ExitStack() as stack:
        # removed even if this process is killed
        files = stack.enter_context(Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))))
        own = self_contained(kubeconfig, files.directory)
        sandbox = stack.enter_context(Sandbox.start(kubeconfig=own))
        with screen.step("cluster") as say:
            version = refusals.check_access(sandbox)
            refusals.check_operators(sandbox)
            say(f"Kubernetes {version}, which {kubeconfig} names")
        if objects.has_remains(sandbox):
            with screen.step("remains") as say:
                objects.remove(sandbox)
                say("removed those of an earlier demo that was killed")
        refusals.check_objects(sandbox)
        stack.enter_context(_removed(screen, sandbox))
        with screen.step("chart") as say:
            say(installation.words(objects.install(sandbox)))
        cluster = Cluster(sandbox)
        tether = stack.enter_context(Tether(Path(tempfile.mkdtemp(prefix="troth-demo-"))))
        crash = operate(screen, tether, sandbox.service_account_kubeconfig(NAMESPACE, NAME))
        good = show_acts(screen, cluster, tether, setting, crash)
    return conclude(screen, began, "The cluster is as it was before.", good=good)


@contextmanager
def _removed(screen: Screen, sandbox: Sandbox) -> Iterator[None]:
    """Remove all objects of the demo when the context ends, however it ends."""
    try:
        yield
    finally:
        screen.say("")
        with screen.step("removal") as say:
            try:
                complete = objects.remove(sandbox)
            except SandboxError as error:
                raise DemoError(
                    f"not all objects of the demo are removed; run it again, and it removes the "
                    f"rest: {error}"
                ) from error
            say("the demo's namespaces, roles and resources are removed")
            if not complete:
                say("; its CRDs stay, because there are other resources of Troth")
