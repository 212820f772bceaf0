"""The asynchronous part of the Kubernetes client library, imported without its synchronous part.

`kubernetes/__init__.py` imports the synchronous client with requests, urllib3, oauthlib and
websocket: 240 modules, which Troth never uses. Kopf imports it too if it is installed, to recognize
its objects. Other modules import the library's names from here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec

from troth.cluster.connection.imports import without

__all__ = [
    "KUBE_CONFIG_DEFAULT_LOCATION",
    "SERVICE_HOST_ENV_NAME",
    "SERVICE_TOKEN_FILENAME",
    "ConfigException",
    "Configuration",
    "RESTClientObject",
    "asynchronous_only",
    "list_kube_config_contexts",
    "load_incluster_config",
    "load_kube_config",
]


@contextmanager
def asynchronous_only() -> Iterator[None]:
    """Let the body import `kubernetes.aio`, or a library for which `kubernetes.client` is optional.

    In the body, the package `kubernetes` is empty and `kubernetes.client` cannot be imported.
    Afterwards `import kubernetes` imports the synchronous part, and that package has no attribute
    `aio`: use `import kubernetes.aio as aio` or the names of this module.
    """
    spec = find_spec("kubernetes")
    if spec is None or "kubernetes" in sys.modules:
        yield
        return
    empty = module_from_spec(spec)
    with without("kubernetes", instead=empty), without("kubernetes.client"):
        yield


with asynchronous_only():
    from kubernetes.aio.client.configuration import Configuration
    from kubernetes.aio.client.rest import RESTClientObject
    from kubernetes.aio.config import (
        KUBE_CONFIG_DEFAULT_LOCATION,
        ConfigException,
        list_kube_config_contexts,
        load_incluster_config,
        load_kube_config,
    )
    from kubernetes.aio.config.incluster_config import SERVICE_HOST_ENV_NAME, SERVICE_TOKEN_FILENAME
