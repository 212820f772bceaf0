"""Files of Secrets on this machine, for the demo's processes."""

import gc
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sandbox import Sandbox
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.shop import Place
from tests.sandbox.observing import becomes


@contextmanager
def frozen_api_server(sandbox: Sandbox) -> Iterator[None]:
    """Have the API server answer nothing meanwhile."""
    mentions = (b"kube-apiserver\0", str(sandbox.directory).encode())
    (process,) = (
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and all(mention in path.read_bytes() for mention in mentions)
    )
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_connections_end_with_the_mounts_while_the_api_server_does_not_answer(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    secret = ("secret", "mounted", "--namespace", "default")
    sandbox.kubectl("create", "secret", "generic", *secret[1:], "--from-literal=key=first")
    file = tmp_path / "mounted" / "key"
    mount = Mount(Place("default", "mounted"), file.parent)
    with warnings.catch_warnings(record=True) as caught, ExitStack() as stack:
        warnings.simplefilter("always", ResourceWarning)
        stack.enter_context(mounted(sandbox.kubeconfig, [mount]))
        sandbox.kubectl("patch", *secret, "--patch", '{"stringData": {"key": "second"}}')
        assert becomes(lambda: file.read_text() == "second"), "the watch has begun"
        with frozen_api_server(sandbox):
            stack.close()
        gc.collect()
    sandbox.kubectl("delete", *secret)
    assert [str(each.message) for each in caught if "unclosed" in str(each.message)] == []
