"""The demo: makes a cluster, runs its acts, and removes it; `KEEP=1` keeps the cluster.

Without names it runs all acts. The default tier is the highest that this machine supports. With a
kubeconfig it uses that cluster instead, and removes from it all that it creates. `BROKER` is nats
(the default) or kafka:

    python -m sandbox.demo [--kubeconfig PATH | --tier node | process-pods | control-plane]
        [calls] [tokens] [messages] [events] [webhooks] [rotation]
"""

import argparse
import os
import sys
from pathlib import Path

from rich.markup import escape

from sandbox.brokers.nats import hush
from sandbox.cluster import KUBECONFIG_VARIABLE
from sandbox.demo import namespaces, setting
from sandbox.demo.screen import Screen
from sandbox.demo.setting import Act, BrokerName, Setting
from sandbox.errors import SandboxError
from sandbox.node.tiers import Tier

INTERRUPTED = 130
REJECTED = 2
PREFIX = "troth-demo-"


def main() -> int:
    """Run the demo; return 0 only if all trials end as expected."""
    arguments = _arguments()
    hush()
    screen = Screen()
    kubeconfig: Path | None = arguments.kubeconfig
    keep = os.environ.get("KEEP", "0") not in {"", "0"}
    if os.environ.get(KUBECONFIG_VARIABLE):
        screen.say(
            f"The demo uses its own cluster, or that of --kubeconfig; unset {KUBECONFIG_VARIABLE}."
        )
        return REJECTED
    if kubeconfig and keep:
        screen.say("KEEP=1 keeps a cluster of the demo's own; unset it, or leave out KUBECONFIG.")
        return REJECTED
    try:
        broker = BrokerName(os.environ.get("BROKER") or BrokerName.NATS)
    except ValueError:
        screen.say(f"BROKER is {os.environ['BROKER']!r}; set it to {' or '.join(BrokerName)}.")
        return REJECTED
    try:
        tier, missing = _tier(arguments)
        possible = tuple(each for each in Act if each.runs_on(tier))
        acts = tuple(each for each in Act if each in arguments.acts) or possible
        if impossible := [each for each in acts if each not in possible]:
            other = "" if kubeconfig else " or choose another tier"
            screen.say(
                f"The act {impossible[0]} needs a node, and the tier {tier} has none; leave the "
                f"act out{other}."
            )
            return REJECTED
        screen.title("Troth: declared calls work, all others fail")
        if missing:
            screen.say(escape(missing))
        if not tier.has_node and not arguments.acts:
            screen.say("The rotation of a root under traffic needs a node, so it is left out.")
        chosen = Setting(tier, broker, acts, envtest=not tier.has_node and setting.has_envtest())
        if chosen.envtest and keep:
            screen.say(
                "KEEP=1 needs the controllers of Kubernetes, which KUBEBUILDER_ASSETS lacks; unset "
                "one of the two."
            )
            return REJECTED
        return 0 if _play(screen, chosen, kubeconfig, keep=keep) else 1
    except SandboxError as error:
        screen.console.print(str(error), style="red", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        left = "the demo's objects are" if kubeconfig else "the cluster is"
        screen.say(f"\nStopped; {left} removed.")
        return INTERRUPTED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m sandbox.demo")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--kubeconfig", type=lambda text: Path(text).expanduser().absolute())
    where.add_argument("--tier", type=Tier, metavar=f"{{{','.join(Tier)}}}")
    # with `choices`, argparse of Python 3.11 rejects that there are none
    parser.add_argument("acts", nargs="*", type=Act, metavar=f"{{{','.join(Act)}}}")
    return parser.parse_args()


def _tier(arguments: argparse.Namespace) -> tuple[Tier, str]:
    """Return the tier, and a sentence on what it lacks."""
    if arguments.kubeconfig:
        return Tier.CONTROL_PLANE, (
            f"The demo creates namespaces and roles named {PREFIX}…, two TrustDomains and missing "
            "CRDs, and removes them at the end. All programs are processes on this machine. The "
            "tables leave out the prefix."
        )
    return (arguments.tier, "") if arguments.tier else setting.best()


def _play(screen: Screen, chosen: Setting, kubeconfig: Path | None, *, keep: bool) -> bool:
    # the modules that name the demo's namespaces read the prefix when they are imported
    if kubeconfig:
        os.environ[namespaces.VARIABLE] = namespaces.PREFIX = PREFIX
        from sandbox.demo.existing.play import play_on  # noqa: PLC0415

        return play_on(screen, kubeconfig, chosen)
    from sandbox.demo.keeping import play_and_keep  # noqa: PLC0415
    from sandbox.demo.play import play  # noqa: PLC0415

    return (play_and_keep if keep else play)(screen, chosen)


if __name__ == "__main__":
    sys.exit(main())
