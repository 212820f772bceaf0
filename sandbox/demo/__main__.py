"""The demo: makes a cluster, runs all trials, and removes it; `KEEP=1` keeps the cluster.

The default tier is the highest that this machine supports. `BROKER` is nats (the default) or kafka:

    python -m sandbox.demo [node | process-pods | control-plane]
"""

import argparse
import os
import sys

from rich.markup import escape

from sandbox.brokers.nats import hush
from sandbox.cluster import KUBECONFIG_VARIABLE
from sandbox.demo import setting
from sandbox.demo.keeping import play_and_keep
from sandbox.demo.play import play
from sandbox.demo.screen import Screen
from sandbox.demo.setting import BrokerName, Setting
from sandbox.errors import SandboxError
from sandbox.node.tiers import Tier

INTERRUPTED = 130


def main() -> int:
    """Run the demo; return 0 only if all trials end as expected."""
    parser = argparse.ArgumentParser("python -m sandbox.demo")
    parser.add_argument("tier", nargs="?", type=Tier, choices=list(Tier))
    named = parser.parse_args().tier
    hush()
    screen = Screen()
    if os.environ.get(KUBECONFIG_VARIABLE):
        screen.say(f"The demo always makes its own cluster; unset {KUBECONFIG_VARIABLE}.")
        return 2
    try:
        broker = BrokerName(os.environ.get("BROKER") or BrokerName.NATS)
    except ValueError:
        screen.say(f"BROKER is {os.environ['BROKER']!r}; set it to {' or '.join(BrokerName)}.")
        return 2
    tier, missing = (named, "") if named else setting.best()
    screen.title("Troth: declared calls work, all others fail")
    if missing:
        screen.say(escape(missing))
    keep = os.environ.get("KEEP", "0") not in {"", "0"}
    try:
        return 0 if (play_and_keep if keep else play)(screen, Setting(tier, broker)) else 1
    except SandboxError as error:
        screen.console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        screen.say("\nStopped; the cluster is removed.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
