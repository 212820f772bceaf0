"""Configuration of the connection to the API server."""

import os
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from troth.cluster.connection.library import (
    SERVICE_HOST_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    Configuration,
    load_incluster_config,
    load_kube_config,
)

CONNECTIONS = 64
"""Maximum number of requests at once, apart from watches and from those of the Lease."""


async def configuration(kubeconfig: str | None, context: str | None = None) -> Configuration:
    """Return the configuration from a kubeconfig, or from inside a pod.

    Without a named kubeconfig it is that of the pod's ServiceAccount, whose token is reread when
    the kubelet replaces it. Outside a pod it is the one that kubectl uses.
    """
    config = Configuration()
    config.connection_pool_maxsize = CONNECTIONS
    # otherwise aiohttp reads the proxy settings and a .netrc for every request
    config.client_session_kwargs = {"trust_env": False}
    if kubeconfig is None and in_a_pod():
        load_incluster_config(client_configuration=config)
    else:
        await load_kube_config(config_file=kubeconfig, context=context, client_configuration=config)
    config.proxy = config.proxy or _proxy(config.host)
    return config


def _proxy(server: str) -> str | None:
    """Return the proxy for a server from the environment, by kubectl's rules."""
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def in_a_pod() -> bool:
    """Return whether this process uses the ServiceAccount of its pod."""
    chosen = "KUBECONFIG" in os.environ
    return (
        not chosen and SERVICE_HOST_ENV_NAME in os.environ and Path(SERVICE_TOKEN_FILENAME).exists()
    )


def pod_namespace() -> str:
    """Return the namespace of this process's pod; raises `OSError` outside a pod."""
    return Path(SERVICE_TOKEN_FILENAME).with_name("namespace").read_text().strip()
