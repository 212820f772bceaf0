"""The command line of the sandbox: `python -m sandbox up`."""

import re
import shlex
import sys
from typing import Annotated

import typer

from sandbox import image, java, tools
from sandbox.cluster import KUBECONFIG_VARIABLE, named_kubeconfig
from sandbox.detached import DetachedSandbox
from sandbox.errors import SandboxError
from sandbox.node import starting
from sandbox.node.settings import WORKLOAD_IMAGE
from sandbox.node.tiers import Tier, unavailable

app = typer.Typer(
    help="A real Kubernetes cluster on this machine, with a node if you want one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _valid(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name):
        raise typer.BadParameter("lower-case letters, digits and dashes only")
    return name


Name = Annotated[
    str, typer.Option(help="Which sandbox; several can be up at once.", callback=_valid)
]


@app.command()
def up(
    name: Name = "default",
    *,
    node: Annotated[
        bool, typer.Option("--node", help="With a node: a kubelet runs Pods in containers.")
    ] = False,
    process_pods: Annotated[
        bool, typer.Option("--process-pods", help="With a lighter node: each Pod is a process.")
    ] = False,
) -> None:
    """Start a cluster to play with; it stays until `down`."""
    if named := named_kubeconfig():
        raise SandboxError(f"{KUBECONFIG_VARIABLE} names a cluster ({named}): nothing to start")
    tier = _tier(node=node, process_pods=process_pods)
    sandbox = DetachedSandbox(name)
    print("The sandbox is up." if sandbox.up(tier) else "The sandbox is up already.")
    print(f"\n{_exports(sandbox)}\n")
    print(f"{PODS[sandbox.tier]} `python -m sandbox down` ends it.")


PODS = {
    Tier.CONTROL_PLANE: "It has no nodes, so Pods stay Pending.",
    Tier.PROCESS_PODS: f"Its Pods are processes; the one image it has is {WORKLOAD_IMAGE}.",
    Tier.NODE: f"Its one node has no registry; the one image it has is {WORKLOAD_IMAGE}.",
}


def _tier(*, node: bool, process_pods: bool) -> Tier:
    """Return the requested tier, or the control plane if the machine does not support it."""
    if node and process_pods:
        raise SandboxError("either --node or --process-pods: there is one node")
    wanted = Tier.NODE if node else Tier.PROCESS_PODS if process_pods else Tier.CONTROL_PLANE
    if reason := unavailable(wanted):
        print(f"Without a node: {reason}.", file=sys.stderr)
        return Tier.CONTROL_PLANE
    return wanted


@app.command()
def down(name: Name = "default") -> None:
    """End the cluster and remove all it left, also after a crash."""
    was_up = DetachedSandbox(name).down()
    print("The sandbox is down." if was_up else "The sandbox was not up.")


@app.command()
def status(name: Name = "default") -> None:
    """Say whether the cluster is up; the exit code says it too."""
    sandbox = DetachedSandbox(name)
    if not sandbox.is_up():
        print("The sandbox is down.")
        raise typer.Exit(1)
    print(f"The sandbox is up; its kubeconfig is {sandbox.kubeconfig}")


@app.command()
def env(name: Name = "default") -> None:
    """Print what a shell needs to use the cluster: `eval "$(python -m sandbox env)"`."""
    sandbox = DetachedSandbox(name)
    if not sandbox.is_up():
        raise SandboxError("the sandbox is down; `python -m sandbox up` starts it")
    print(_exports(sandbox))


@app.command()
def build(
    names: Annotated[
        list[str] | None, typer.Argument(help="Which programs; all by default.")
    ] = None,
) -> None:
    """Build what the sandbox needs and is not there yet, and say where it is."""
    of_java = (*tools.JAVA_PROGRAMS, tools.KAFKA)
    known = ("kubectl", *tools.PROGRAMS, *of_java, *tools.MODULE_FILES)
    useful = {program for tier in Tier if not unavailable(tier) for program in tier.programs}
    useless = set(Tier.NODE.programs) - useful
    without_java = java.missing()
    skipped = useless | (set(of_java) if without_java else set())
    if without_java and not names:
        print(f"Without {', '.join(of_java)}: {without_java}.", file=sys.stderr)
    for name in names or (each for each in known if each not in skipped):
        if name not in known:
            raise SandboxError(f"there is no program {name}; there are {', '.join(known)}")
        print(tools.ensure(name))
    if not names and not useless:
        starting.prepare(Tier.NODE)  # fetches the packages too
        if reason := image.unavailable():
            print(f"Without the operator's image: {reason}.", file=sys.stderr)
        else:
            print(image.ensure())


def _exports(sandbox: DetachedSandbox) -> str:
    kubeconfig, programs = shlex.quote(str(sandbox.kubeconfig)), shlex.quote(str(sandbox.programs))
    return f'export KUBECONFIG={kubeconfig}\nexport PATH={programs}:"$PATH"'


if __name__ == "__main__":
    try:
        app()
    except SandboxError as error:
        sys.exit(str(error))
