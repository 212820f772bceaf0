"""The demo, from nothing to proof and back to nothing; `KEEP=1` leaves the cluster up."""

import os
import sys

from sandbox.cluster import KUBECONFIG_VARIABLE
from sandbox.demo.keeping import play_and_keep
from sandbox.demo.play import play
from sandbox.demo.screen import Screen
from sandbox.errors import SandboxError

INTERRUPTED = 130


def main() -> int:
    """Run the demo; return 0 only if all was as declared."""
    screen = Screen()
    if os.environ.get(KUBECONFIG_VARIABLE):
        screen.say(
            f"The demo makes a cluster of its own and uses no other: unset {KUBECONFIG_VARIABLE}."
        )
        return 2
    try:
        if os.environ.get("KEEP", "0") not in {"", "0"}:
            return 0 if play_and_keep(screen) else 1
        return 0 if play(screen) else 1
    except SandboxError as error:
        screen.console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        screen.say("\nStopped; nothing is left behind.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
