"""The user's kubeconfig as one file that needs no other file or program."""

import asyncio
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import ConfigException, load_kube_config

from sandbox import tools
from sandbox.demo.errors import DemoError
from sandbox.kubeconfig import encoded, write_kubeconfig

UNSUPPORTED = {
    "cluster": ("insecure-skip-tls-verify", "proxy-url", "tls-server-name"),
    "user": ("as", "as-uid", "as-groups", "as-user-extra", "username", "auth-provider"),
}
"""Settings that not all of the demo's clients have. To ignore one would change who they trust, or
the rights that they use."""


def self_contained(kubeconfig: Path, directory: Path) -> Path:
    """Write a kubeconfig for the current context of another; return its path.

    It has the certificate or token that kubectl would use now, also if a program supplies it.
    Raises `DemoError` if the file is no kubeconfig or has an unsupported setting.
    """
    view = _view(kubeconfig)
    if not (view.get("clusters") and view.get("users")):
        raise DemoError(
            f"{kubeconfig} has no current context with a cluster and a user; choose one with "
            "`kubectl config use-context`"
        )
    cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
    for part, found in (("cluster", cluster), ("user", user)):
        for setting in UNSUPPORTED[part]:
            if found.get(setting):
                raise DemoError(
                    f"the {part} of {kubeconfig} has {setting}, which the demo does not support; "
                    "use a kubeconfig without it"
                )
    if not _is_complete(user):
        user = _credential(kubeconfig, directory)
    return write_kubeconfig(directory / "kubeconfig", cluster=cluster, user=user)


def _view(kubeconfig: Path) -> dict[str, Any]:
    if not kubeconfig.is_file():
        raise DemoError(f"there is no kubeconfig {kubeconfig}")
    done = subprocess.run(
        [
            *(tools.ensure("kubectl"), "config", "view"),
            *("--raw", "--flatten", "--minify", "--output=json"),
        ],
        env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"kubectl cannot read {kubeconfig}: {done.stderr.strip()}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _is_complete(user: dict[str, str]) -> bool:
    return {"client-certificate-data", "client-key-data"} <= user.keys() or "token" in user


def _credential(kubeconfig: Path, directory: Path) -> dict[str, str]:
    """Return the user entry with what the file of a token, or a program, supplies."""
    config = Configuration()
    try:
        # the client library writes keys to temporary files
        with tempfile.TemporaryDirectory(dir=directory) as temporary:
            asyncio.run(
                load_kube_config(
                    *(str(kubeconfig), None, config),
                    persist_config=False,
                    temp_file_path=temporary,
                )
            )
            if token := (config.api_key or {}).get("BearerToken"):
                return {"token": token.removeprefix("Bearer ")}
            if config.cert_file and config.key_file:
                return {
                    "client-certificate-data": encoded(Path(config.cert_file).read_bytes()),
                    "client-key-data": encoded(Path(config.key_file).read_bytes()),
                }
    except ConfigException:  # its text may quote the credential
        raise DemoError(
            f"{kubeconfig} supplies no credential; run kubectl get namespaces with it first"
        ) from None
    raise DemoError(
        f"the user of {kubeconfig} has neither a certificate nor a token; log in to the cluster "
        "first"
    )
