"""Finds the worker that reviews a policy, and connects to it with the user's own token.

Without `--server`, the connection goes through the API server to a pod of the worker. In either
case, the worker must prove the SPIFFE ID of the policy's reviewer.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from troth.cli.deadletters.worker import UnreachableError, WorkerAPI
from troth.cli.inputs.access import PersonalServer, connected, home, reach
from troth.cli.inputs.single import fault, read_file
from troth.cli.token.cluster import trusted
from troth.cli.token.trust import read_bundles
from troth.cluster.connection.library import Configuration
from troth.cluster.connection.port_forward import PortForward
from troth.edge.outbound.servers import Expected, client_context
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID
from troth.resources.manifests import Manifest
from troth.resources.references import Ref

COMPONENT = "app.kubernetes.io/component=review"
"""Label of the worker's pods."""
PORT_NAME, PORT = "https", 8443

_LONGEST_TOKEN = 64 * 1024
_BEARER = "BearerToken"


@dataclass(frozen=True, slots=True)
class Place:
    """How a command reaches the cluster and the worker, from its options."""

    kubeconfig: Path | None
    context: str | None
    server: str | None = None
    worker: str | None = None
    bundle: Path | None = None
    token: str | None = field(default=None, repr=False)
    token_file: Path | None = None

    def __post_init__(self) -> None:
        """Check what needs no cluster; raises `FaultyManifests`."""
        if self.server is not None:
            _server_url(self.server)
        if self.worker is not None:
            _workload(self.worker, "--worker")

    def namespace(self, given: str) -> str:
        """Return a namespace, that of the context if it is empty."""
        return given or home(self.kubeconfig, self.context)


@dataclass(frozen=True, slots=True)
class Reviewer:
    """Worker that reviews a policy: its SPIFFE ID, and one of its pods with its port.

    `namespace` is that of its trust bundle and of its pods.
    """

    spiffe_id: str
    namespace: str
    pod: Ref | None = None
    port: int = PORT


@asynccontextmanager
async def worker_api(place: Place, policy: Ref) -> AsyncIterator[WorkerAPI]:
    """Connect to the worker that reviews a policy; raises `FaultyManifests`."""
    config = await reach(place.kubeconfig, place.context)
    token = await _token(config, place)
    reviewer = await _reviewer(place, policy)
    roots = await _roots(place, reviewer)
    tls = client_context(roots, Expected.exactly(reviewer.spiffe_id), None)
    # the SPIFFE ID says who the server is, and the worker's certificate may have no DNS name
    tls.check_hostname = False
    async with AsyncExitStack() as stack:
        forward = None
        if place.server is not None:
            url, name = _server_url(place.server), place.server
        else:
            assert reviewer.pod is not None
            forward = PortForward(config, reviewer.pod, reviewer.port)
            await stack.enter_async_context(forward)
            url, name = f"https://127.0.0.1:{forward.local_port}", f"Pod {reviewer.pod}"
        connector = aiohttp.TCPConnector(ssl=tls)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        try:
            yield WorkerAPI(session, url, token, policy, name)
        except UnreachableError:
            if forward is not None and forward.failure:
                raise fault("API server", forward.failure) from None
            raise


async def _token(config: Configuration, place: Place) -> str:
    """Return the bearer token to present; raises `FaultyManifests`."""
    if place.token_file is not None:
        return _ascii(read_file(place.token_file, _LONGEST_TOKEN), str(place.token_file))
    if place.token is not None:
        return _ascii(place.token.encode(), "--token")
    value = await config.get_api_key_with_prefix(_BEARER)
    if value:
        return _ascii(str(value).removeprefix("Bearer ").encode(), "token of the kubeconfig")
    raise fault(
        str(place.kubeconfig or "kubeconfig"),
        "its user has no bearer token, which the worker needs to ask the API server who you are; "
        'add --token-file FILE, or --token "$(kubectl create token NAME -n NAMESPACE)" of a '
        "ServiceAccount",
    )


def _ascii(text: bytes, place: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.decode("latin-1").isprintable():
        raise fault(place, "is not a token")
    return token.decode("ascii")


def _server_url(text: str) -> str:
    with suppress(ValueError):  # also of a port that is no number
        url = urlsplit(text)
        others = "@" in url.netloc or url.path.strip("/") or url.query or url.fragment
        if url.scheme == "https" and url.hostname and url.port != 0 and not others:
            return f"https://{url.netloc}"
    raise fault("--server", "is not the URL of a worker, such as https://127.0.0.1:8443")


async def _reviewer(place: Place, policy: Ref) -> Reviewer:
    """Return the worker that reviews a policy."""
    async with connected(place.kubeconfig, place.context) as server:
        if place.worker is not None:
            # not the namespace that the policy names, whose editors may not be the worker's
            spiffe_id = place.worker
            namespace, account = _workload(spiffe_id, "--worker")
        else:
            ref = reviewer_of(await server.get("TopicPolicy", policy))
            if ref.namespace == policy.namespace:
                raise fault(f"TopicPolicy {policy}", _own_reviewer(ref))
            spiffe_id = _spiffe_id(await server.find("ServiceIdentity", ref), ref)
            namespace = ref.namespace
            account = _workload(spiffe_id, f"ServiceIdentity {ref}").name
        if place.server is not None:
            return Reviewer(spiffe_id, namespace)
        pod = await _pod(server, namespace, account)
        return Reviewer(spiffe_id, namespace, Ref.of(pod), _port(pod))


def reviewer_of(policy: Manifest) -> Ref:
    """Return the ServiceIdentity that reviews a policy; raises `FaultyManifests`."""
    place = Ref.of(policy)
    reviewer = ((policy.get("spec") or {}).get("deadLetter") or {}).get("reviewer")
    if not isinstance(reviewer, dict):
        raise fault(
            f"TopicPolicy {place}", "has no deadLetter.reviewer, so nobody reviews its dead letters"
        )
    return Ref(reviewer.get("namespace") or place.namespace, reviewer["name"])


def _own_reviewer(ref: Ref) -> str:
    return (
        f"its deadLetter.reviewer {ref} is a workload of its own namespace, whose editors would "
        "receive your token; name the worker of the release there, or, if you trust them with your "
        "token, the worker's SPIFFE ID with --worker"
    )


def _spiffe_id(identity: Manifest | None, ref: Ref) -> str:
    found = ((identity or {}).get("status") or {}).get("spiffeID")
    if isinstance(found, str):
        return found
    why = "cannot be read" if identity is None else "has no status.spiffeID yet"
    raise fault(f"ServiceIdentity {ref}", f"{why}; name the worker's SPIFFE ID with --worker")


def _workload(spiffe_id: str, place: str) -> Ref:
    """Return the namespace and the ServiceAccount in a SPIFFE ID; raises `FaultyManifests`."""
    with suppress(SPIFFEIDError):
        match SPIFFEID.parse(spiffe_id).path.split("/"):
            case ["", "ns", namespace, "sa", account]:
                return Ref(namespace, account)
    raise fault(
        place, "is not the SPIFFE ID of a workload, such as spiffe://prod.example/ns/a/sa/b"
    )


async def _pod(server: PersonalServer, namespace: str, account: str) -> Manifest:
    """Return one of a worker's pods that are ready."""
    pods = await server.listed("Pod", namespace, labels=COMPONENT)
    for pod in sorted(pods, key=lambda each: str(each["metadata"]["name"])):
        if pod["spec"].get("serviceAccountName") == account and _is_ready(pod):
            return pod
    raise fault(
        f"Namespace {namespace}",
        f"no pod with the label {COMPONENT} and the ServiceAccount {account} is ready; install the "
        "worker with the chart value review.enabled, or name its URL with --server",
    )


def _is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _port(pod: Manifest) -> int:
    ports = [
        port
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name") == PORT_NAME
    ]
    return int(ports[0]["containerPort"]) if ports else PORT


async def _roots(place: Place, reviewer: Reviewer) -> bytes:
    """Return the roots of the worker's trust domain.

    They come from its own namespace, because editors of the policy's can replace the bundle there.
    """
    domain = SPIFFEID.parse(reviewer.spiffe_id).trust_domain
    if place.bundle is not None:
        bundles, source = read_bundles(place.bundle), str(place.bundle)
    else:
        found = await trusted(place.kubeconfig, place.context, reviewer.namespace, None)
        bundles, source = found.bundles, f"trust bundle of Namespace {reviewer.namespace}"
    if domain not in bundles:
        raise fault(source, f"has no trust domain {domain}; name a bundle file with --bundle")
    return b"".join(bundles[domain].x509_authorities)
