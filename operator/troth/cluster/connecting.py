"""Where the API server is, and as whom it is spoken to."""

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from kubernetes.aio.client import Configuration
from kubernetes.aio.config import load_incluster_config, load_kube_config
from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME


async def configuration(kubeconfig: str | None, context: str | None = None) -> Configuration:
    """Return how to reach the API server: from a kubeconfig, or from inside a pod.

    Without one named, inside a pod its ServiceAccount is used, whose token is read anew as the
    kubelet replaces it; elsewhere what kubectl would use.
    """
    config = Configuration()
    # connections are shared by watches, which hold theirs, and by everything else
    config.connection_pool_maxsize = 64
    # else the proxy, and a password in a .netrc, would be looked for at every request
    config.client_session_kwargs = {"trust_env": False}
    if kubeconfig is None and _in_a_pod():
        load_incluster_config(client_configuration=config)
    else:
        await load_kube_config(config_file=kubeconfig, context=context, client_configuration=config)
    config.proxy = config.proxy or _proxy(config.host)
    return config


def _proxy(server: str) -> str | None:
    """Return the proxy that the environment names for a server, as kubectl takes it."""
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _in_a_pod() -> bool:
    chosen = "KUBECONFIG" in os.environ
    return (
        not chosen and SERVICE_HOST_ENV_NAME in os.environ and Path(SERVICE_TOKEN_FILENAME).exists()
    )
