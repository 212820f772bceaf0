"""The demo, from nothing to proof and back to nothing; `KEEP=1` leaves the cluster up.

It plays on as much of a cluster as this machine can have, unless a tier is named, with the message
broker that `BROKER` names, NATS unless it says kafka:

    python -m sandbox.demo [node | process-pods | control-plane]
"""

import argparse
import os
import sys

from rich.markup import escape

from sandbox.brokers.nats import hush
from sandbox.cluster import KUBECONFIG_VARIABLE
from sandbox.demo import choosing
from sandbox.demo.choosing import BrokerName, Setting
from sandbox.demo.keeping import play_and_keep
from sandbox.demo.play import play
from sandbox.demo.screen import Screen
from sandbox.errors import SandboxError
from sandbox.node.tiers import Tier

INTERRUPTED = 130


def main() -> int:
    """Run the demo; return 0 only if all was as declared."""
    parser = argparse.ArgumentParser("python -m sandbox.demo")
    parser.add_argument("tier", nargs="?", type=Tier, choices=list(Tier))
    named = parser.parse_args().tier
    hush()
    screen = Screen()
    if os.environ.get(KUBECONFIG_VARIABLE):
        screen.say(
            f"The demo makes a cluster of its own and uses no other: unset {KUBECONFIG_VARIABLE}."
        )
        return 2
    try:
        broker = BrokerName(os.environ.get("BROKER") or BrokerName.NATS)
    except ValueError:
        screen.say(f"There is a demo with {' and one with '.join(BrokerName)}: say so in BROKER.")
        return 2
    tier, missing = (named, "") if named else choosing.best()
    screen.title("Troth: what is declared works, and what is not declared fails")
    if missing:
        screen.say(escape(missing))
    keep = os.environ.get("KEEP", "0") not in {"", "0"}
    try:
        return 0 if (play_and_keep if keep else play)(screen, Setting(tier, broker)) else 1
    except SandboxError as error:
        screen.console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        screen.say("\nStopped; nothing is left behind.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
