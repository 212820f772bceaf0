"""The demo: makes a cluster, runs its acts, and removes it; `KEEP=1` keeps the cluster.

Without names it runs all acts. The default tier is the highest that this machine supports. `BROKER`
is nats (the default) or kafka:

    python -m sandbox.demo [--tier node | process-pods | control-plane]
        [calls] [tokens] [messages] [webhooks] [rotation]
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
from sandbox.demo.setting import Act, BrokerName, Setting
from sandbox.errors import SandboxError
from sandbox.node.tiers import Tier

INTERRUPTED = 130


def main() -> int:
    """Run the demo; return 0 only if all trials end as expected."""
    parser = argparse.ArgumentParser("python -m sandbox.demo")
    parser.add_argument("--tier", type=Tier, metavar=f"{{{','.join(Tier)}}}")
    # with `choices`, argparse of Python 3.11 rejects that there are none
    parser.add_argument("acts", nargs="*", type=Act, metavar=f"{{{','.join(Act)}}}")
    arguments = parser.parse_args()
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
    tier, missing = (arguments.tier, "") if arguments.tier else setting.best()
    possible = tuple(each for each in Act if each.runs_on(tier))
    acts = tuple(each for each in Act if each in arguments.acts) or possible
    if impossible := [each for each in acts if each not in possible]:
        screen.say(
            f"The act {impossible[0]} needs a node, and the tier {tier} has none; leave the act "
            "out or choose another tier."
        )
        return 2
    screen.title("Troth: declared calls work, all others fail")
    if missing:
        screen.say(escape(missing))
    if not tier.has_node and not arguments.acts:
        screen.say("The rotation of a root under traffic needs a node, so it is left out.")
    keep = os.environ.get("KEEP", "0") not in {"", "0"}
    setup = Setting(tier, broker, acts)
    try:
        return 0 if (play_and_keep if keep else play)(screen, setup) else 1
    except SandboxError as error:
        screen.console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        screen.say("\nStopped; the cluster is removed.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
