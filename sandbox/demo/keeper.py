"""Keeps the operator running beside a cluster that is kept, and ends with that cluster.

python -m sandbox.demo.keeper ADMINISTRATORS_KUBECONFIG OPERATORS_KUBECONFIG
"""

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from sandbox.demo.operating import NAME, run_operator
from sandbox.errors import SandboxError
from sandbox.processes import Tether


def keep(cluster: Path, kubeconfig: Path) -> None:
    """Run the operator until the cluster's kubeconfig is gone, or the operator is."""

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    with Tether(Path(tempfile.mkdtemp(prefix="troth-operator-"))) as tether:
        run_operator(tether, kubeconfig, cluster.with_name("operator.log"))
        cluster.with_name("operator.ready").touch()
        while cluster.exists() and tether.poll(NAME) is None:
            time.sleep(0.5)


if __name__ == "__main__":
    try:
        keep(Path(sys.argv[1]), Path(sys.argv[2]))
    except SandboxError as error:
        sys.exit(str(error))
