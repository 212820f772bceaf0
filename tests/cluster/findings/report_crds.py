"""The CRDs of reports as their projects publish them, in a control plane."""

from sandbox import Sandbox, ensure
from tests.patience import PATIENCE

FILES = {
    "openreports.io": "openreports-crds.yaml",
    "wgpolicyk8s.io": "wgpolicy-crds.yaml",
}
"""File of the sandbox with the CRDs of each API group."""


def install_reports(sandbox: Sandbox, group: str) -> None:
    """Install the CRDs of an API group, and wait until the API server serves them."""
    file = str(ensure(FILES[group]))
    sandbox.kubectl("apply", "--server-side", "-f", file)
    sandbox.await_crds(within=PATIENCE)


def uninstall_reports(sandbox: Sandbox, group: str) -> None:
    """Delete the CRDs of an API group, and with them all reports."""
    file = str(ensure(FILES[group]))
    sandbox.kubectl("delete", "--ignore-not-found", f"--timeout={PATIENCE:.0f}s", "-f", file)
