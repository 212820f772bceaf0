"""Keeps the operator running beside a cluster that stays, and ends with that cluster.

python -m sandbox.demo.keeper ADMINISTRATORS_KUBECONFIG OPERATORS_KUBECONFIG
"""

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from sandbox.demo.programs import LEASE, NAME, run_operator
from sandbox.errors import SandboxError
from sandbox.processes import Tether

PROCESS = "operator.pid"


def keep(cluster: Path, kubeconfig: Path) -> None:
    """Run the operator, and restart it when it ends, until the cluster's kubeconfig is gone.

    Its process id is in a file beside that kubeconfig.
    """

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    with Tether(Path(tempfile.mkdtemp(prefix="troth-operator-"))) as tether:
        while cluster.exists():
            log = cluster.with_name("operator.log")
            process = run_operator(tether, kubeconfig, log, lease=LEASE)
            draft = cluster.with_name("operator.pid.new")
            draft.write_text(str(process))
            draft.replace(cluster.with_name(PROCESS))
            while cluster.exists() and tether.poll(NAME) is None:
                time.sleep(0.5)  # neither event can be waited for


if __name__ == "__main__":
    try:
        keep(Path(sys.argv[1]), Path(sys.argv[2]))
    except SandboxError as error:
        sys.exit(str(error))
