"""Hypothesis strategies for manifests: valid ones, and the same with one or two faults."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from troth.resources.metadata import API_VERSION

Manifest = dict[str, Any]
Path = tuple[str | int, ...]

_labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
_services = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
subdomains = st.lists(_labels, min_size=1, max_size=3).map(".".join)
dns_names = st.lists(_labels, min_size=2, max_size=4).map(".".join)
port_names = st.sampled_from(["https", "http", "grpc", "admin-1", "a"])
port_numbers = st.sampled_from([1, 80, 443, 8443, 65535])
environments = st.sampled_from(["production", "staging", "test", "qa-2"])
durations = st.sampled_from(["5m", "1h", "24h", "1h30m", "90m", "0001h", "3600s", "2160h"])
cidrs = st.sampled_from(
    [
        *("10.0.0.0/8", "203.0.113.0/24", "0.0.0.0/0", "192.0.2.7/32"),
        *("::/0", "2001:db8::/32", "2001:db8:0:1::/64", "fe80::/10", "1:0:2::/48"),
    ]
)
times = st.sampled_from(
    ["2026-11-24T12:00:00Z", "2028-02-29T23:59:59.123456+05:30", "2000-01-01T00:00:00-00:00"]
)
characters = st.characters(exclude_categories=["Cs", "Cn"])
"""JSON cannot carry a lone surrogate. Which characters are assigned depends on the versions of
Unicode of Python and of the API server."""
sentences = st.one_of(
    st.sampled_from(["the batch job has no TLS yet", "abc", "warum auch nicht: übermorgen"]),
    st.text(characters, max_size=20).map(lambda text: f"why{text}"),
)
keys = st.one_of(
    st.sampled_from(["app", "example.com/team", "a.b-c.d/E_f.G", "kubernetes.io/metadata.name"]),
    _labels,
)
values = st.sampled_from(["", "payments", "A.b_c-9", "0"])


def several(items: st.SearchStrategy[Any], *, least: int = 0) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, min_size=least, max_size=3, unique=True)


def object_of(optional: Manifest, **required: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(required, optional=optional)


requirements = st.one_of(
    object_of(
        {}, key=keys, operator=st.sampled_from(["In", "NotIn"]), values=several(values, least=1)
    ),
    object_of(
        {"values": st.just([])}, key=keys, operator=st.sampled_from(["Exists", "DoesNotExist"])
    ),
)
match_labels = st.dictionaries(keys, values, min_size=1, max_size=3)
selectors = st.one_of(
    object_of({}, matchLabels=match_labels),
    object_of(
        {"matchLabels": match_labels},
        matchExpressions=st.lists(requirements, min_size=1, max_size=2),
    ),
)
references = object_of({"namespace": _labels}, name=subdomains)
algorithms = st.sampled_from(["ECDSA-P256", "ECDSA-P384", "Ed25519", "RSA-2048", "RSA-4096"])

authorities = st.one_of(
    object_of(
        {},
        selfManaged=object_of(
            {
                "keyAlgorithm": algorithms,
                "lifetime": st.sampled_from(["2161h", "87600h"]),
                "confined": st.booleans(),
            }
        ),
    ),
    object_of({}, secretRef=object_of({}, name=subdomains)),
)
networks = object_of(
    {
        "dns": object_of(
            {"namespace": _labels, "podSelector": selectors, "port": port_numbers},
        ),
        "metrics": object_of({}, namespace=_labels, podSelector=selectors),
        "probes": object_of({}, cidrs=several(cidrs, least=1)),
    }
)
suffixes = st.lists(
    object_of({}, suffix=dns_names, namespaceSelector=selectors),
    max_size=3,
    unique_by=lambda item: str(item["suffix"]),
)
federated = st.lists(
    object_of({}, name=subdomains), max_size=3, unique_by=lambda item: str(item["name"])
)


issuers = st.sampled_from(
    ["https://tokens.example", "https://a.b.example:8443/production/eu-1", "https://a.b:1/c.d~e"]
)
tokens = object_of(
    {"issuer": issuers, "keyLifetime": st.sampled_from(["24h", "720h", "8760h", "1440m"])}
)


def metadata(**more: Any) -> st.SearchStrategy[Manifest]:
    optional = {
        "labels": st.just({"app": "shop"}),
        "annotations": st.one_of(st.none(), st.just({"note": "é\n"})),
    }
    return object_of(optional, name=subdomains, **more)


@st.composite
def trust_domains(draw: st.DrawFn) -> Manifest:
    environment = draw(environments)
    others = environments.filter(lambda other: other != environment)
    spec = draw(
        object_of(
            {
                "certificates": object_of({"lifetime": durations, "dnsNames": suffixes}),
                "bundle": object_of({"configMapName": subdomains}),
                "tokens": tokens,
                "consent": st.sampled_from(["Mutual", "Callee"]),
                "allowEnvironments": several(others),
                "federatesWith": federated,
                "network": networks,
            },
            domain=dns_names,
            namespaceSelector=selectors,
            authority=authorities,
        )
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "TrustDomain",
        "metadata": draw(metadata()) | ({"name": draw(_services)} if "tokens" in spec else {}),
        "spec": {**spec, "environment": environment},
    }


ports = st.lists(
    object_of({"protocol": st.sampled_from(["TCP", "UDP"])}, name=port_names, port=port_numbers),
    min_size=1,
    max_size=3,
    unique_by=(lambda port: port["name"], lambda port: port["port"]),
)
unverified = st.one_of(
    object_of({}, cidrs=several(cidrs, least=1), reason=sentences),
    object_of({"podSelector": selectors}, namespaceSelector=selectors, reason=sentences),
    object_of({}, podSelector=selectors, reason=sentences),
)
workloads = st.lists(
    object_of(
        {}, kind=st.sampled_from(["Deployment", "StatefulSet", "DaemonSet"]), name=subdomains
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda item: (item["kind"], item["name"]),
)
scopes = st.sampled_from(["payments.charge", "a", "urn:x/y-z", "A_9"])
forwards = st.sampled_from([[], ["ClientCertificate"]])
certificates = object_of(
    {
        "dnsNames": several(dns_names),
        "keyAlgorithm": algorithms,
        "lifetime": durations,
        "keystores": st.sampled_from([[], ["PKCS12"]]),
    }
)
token_patterns = object_of(
    {
        "audience": st.sampled_from(["https://pay.example/a", "payments", "api://A_9~b"]),
        "lifetime": st.sampled_from(["10s", "5m", "15m", "1m30s"]),
        "proofOfPossession": st.sampled_from(["Required", "Optional"]),
        "certificate": certificates,
    }
)
transactions = object_of(
    {"scopes": several(scopes), "context": several(st.sampled_from(["channel", "a", "b_C9"]))}
)
external = object_of(
    {}, host=dns_names, cidrs=several(cidrs, least=1), ports=several(port_numbers, least=1)
)
outside = st.one_of(
    object_of({}, external=external),
    st.just({"kubernetesAPI": True}),
    object_of({"scopes": st.just([])}, external=external),
)


@st.composite
def service_identities(draw: st.DrawFn, namespace: str = "default") -> Manifest:
    declared = draw(ports)
    names = several(st.sampled_from([port["name"] for port in declared]), least=1)
    gateway = draw(st.none() | references)
    if gateway is None:
        accepted = st.one_of(
            object_of(
                {"scopes": several(scopes), "forwards": forwards},
                **{"from": references, "ports": names},
            ),
            object_of(
                {"scopes": st.just([]), "forwards": st.just([])}, unverified=unverified, ports=names
            ),
        )
        called = st.one_of(
            object_of(
                {"scopes": several(scopes)}, to=references, ports=several(port_names, least=1)
            ),
            outside,
        )
        authentication = st.one_of(
            object_of({}, mtls=certificates), object_of({}, token=token_patterns)
        )
    else:
        accepted = object_of(
            {"scopes": several(scopes)}, **{"from": st.just(gateway), "ports": names}
        )
        called = outside
        authentication = object_of(
            {},
            gatewayOnly=object_of(
                {}, gateway=st.just(gateway), reason=sentences, owner=sentences, expiresAt=times
            ),
        )
    spec = draw(
        object_of(
            {
                "accepts": st.lists(accepted, max_size=2),
                "calls": st.lists(called, max_size=2),
                "exceptions": object_of({"probes": names, "metrics": names}),
                "requires": object_of(
                    {"context": several(st.sampled_from(["Subject", "Tenant", "RequestID"]))}
                ),
                "enforcement": st.sampled_from(["Enforce", "Observe"]),
                **(
                    {}
                    if gateway
                    else {
                        "onRotation": object_of({}, restart=workloads),
                        "startsTransactions": transactions,
                    }
                ),
            },
            workload=object_of(
                {}, serviceAccountName=subdomains, podSelector=selectors, ports=st.just(declared)
            ),
            authentication=authentication,
        )
    )
    return {
        "apiVersion": API_VERSION,
        "kind": "ServiceIdentity",
        "metadata": draw(metadata(namespace=st.just(namespace))),
        "spec": copy.deepcopy(spec),
    }


crons = st.sampled_from(
    ["0 2 * * 6", "*/15 0-6,22-23 1,15 */2 1-5", "59 23 31 12 7", "5/10 * * * *", "0 0 31 2 *"]
)
windows = object_of(
    {"timeZone": st.sampled_from(["UTC", "Europe/Berlin", "Etc/GMT+5", "Nowhere/At_All"])},
    cron=crons,
    duration=st.sampled_from(["1m", "2h", "168h"]),
)


@st.composite
def credential_rotations(draw: st.DrawFn, namespace: str = "default") -> Manifest:
    of_root = draw(st.booleans())
    kind = "TrustDomain" if of_root else "ServiceIdentity"
    optional: Manifest = {
        "every": st.sampled_from(["5m", "720h", "87600h"]),
        "overlap": st.sampled_from(["0s", "24h", "2160h"]),
        "requestedAt": times,
    }
    if of_root:
        optional["compromised"] = st.sampled_from(["0123456789abcdef", "f" * 64])
    spec = draw(object_of(optional, target=object_of({}, kind=st.just(kind), name=subdomains)))
    if "every" in spec:
        spec |= draw(object_of({"windows": st.lists(windows, max_size=2)}))
    return {
        "apiVersion": API_VERSION,
        "kind": "CredentialRotation",
        "metadata": draw(metadata(namespace=st.just(namespace))),
        "spec": copy.deepcopy(spec),
    }


# Faults

ODD: list[Any] = [
    *(None, "", " ", "x", "X", "a.b", "a.b.", "a..b", "-a", "a_b", "*.a.b", "é", "日本語", "a\n"),
    *("a" * 64, f"{'a' * 64}.example", "a" * 254, "a/b/c", "true", "Mutual", "mutual"),
    *(True, False, 0, -1, 1, 443, 443.0, 65536, 1.5, 2**31, 2**40, "443", "08443"),
    *([], {}, [None], [""], ["a", "a"], [{}], {"name": "a"}, {"a": "b"}, {"": ""}, {"a b": "c"}),
    *({"a/b": 1}, {"a..b/c": "d"}, {f"{'a' * 254}/b": "c"}, {"a": None}),
    *("4m", "5m", "24h", "2161h", "999999h", "1000000h", "1d", "1.5h", "-1h", "24", "24H", "1m1h"),
    *("999999h999999m999999s", "0h", "٣h", "24h\n", "87601h", "87600h", "59m59s"),
    *("10.0.0.1/8", "10.0.0.0", "10.0.0.0/33", "010.0.0.0/8", "10.0.0.0/08", "10.0.0.0/255.0.0.0"),
    *("2001:DB8::/32", "2001:db8:0::/48", "::ffff:10.0.0.0/104", "::ffff:a00:0/104", "fe80::%1/64"),
    *("::/0", "0.0.0.0/0", "::1.2.3.0/120", "1::/64 ", "fe80::1/10"),
    *("2026-11-24T12:00:00Z", "2026-11-24t12:00:00z", "2026-11-24 12:00:00Z", "2026-11-24"),
    *("2026-02-29T00:00:00Z", "2028-02-29T00:00:00Z", "2026-11-24T12:00:60Z", "1700000000"),
    *(
        "2026-11-24T24:00:00Z",
        "2026-11-24T12:00:00",
        "1999-11-24T12:00:00Z",
        "0000-01-01T00:00:00Z",
    ),
    *("2026-11-24T12:00:00.1234567Z", "2026-11-24T12:00:00+24:00", "2026-11-24T12:00:00+0100"),
    *("60 * * * *", "30-10 * * * *", "1,30-10/2 * * * *", "* * * *", "*/0 * * * *", "0 0 0 * *"),
    *("0 2 * * 6 ", "@daily", "0 2 * * SAT", "0-59 0-23 1-31 1-12 0-7", "0123456789ABCDEF"),
    *(
        "https://a.b",
        "https://a.b/",
        "http://a.b",
        "https://a.b?c",
        "https://a.b:0",
        "spiffe://a/b",
    ),
    *("9s", "10s", "15m", "15m1s", "23h59m", "8761h", "Required", "ClientCertificate", "a-b"),
    *("RSA-1024", "TCP", "tcp", "PKCS12", "In", "Exists", "Subject", "production", "staging"),
]
_LEFT_ALONE = {("apiVersion",), ("kind",), ("metadata",), ("metadata", "namespace")}


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every field and every item, containers included."""
    inside: Iterator[tuple[str | int, Any]] = iter(())
    if isinstance(value, dict):
        inside = iter(value.items())
    elif isinstance(value, list):
        inside = iter(enumerate(value))
    for step, part in inside:
        here = (*path, step)
        if here not in _LEFT_ALONE:
            yield here
        if here not in (("metadata", "labels"), ("metadata", "annotations")):
            yield from places(part, here)


@st.composite
def gone_wrong(draw: st.DrawFn, right: st.SearchStrategy[Manifest]) -> Manifest:
    """Draw a manifest with one or two fields changed, removed, doubled or added."""
    manifest = copy.deepcopy(draw(right))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(sorted(places(manifest), key=str)))
        *way, last = path
        holder: Any = manifest
        for step in way:
            holder = holder[step]
        before = holder[last]
        match draw(st.sampled_from(["change", "change", "change", "remove", "double", "add"])):
            case "remove":
                del holder[last]
            case "double" if isinstance(before, list) and before:
                before.append(copy.deepcopy(draw(st.sampled_from(before))))
            case "add" if isinstance(before, dict) and path[0] != "metadata":
                name = draw(
                    st.sampled_from(
                        [
                            *("nonsense", "name", "namespace", "mtls", "token", "cidrs", "scopes"),
                            *("forwards", "audience", "startsTransactions"),
                        ]
                    )
                )
                before[name] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case _ if path[0] == "metadata" and path != ("metadata", "name"):
                holder[last] = None
            case _:
                holder[last] = copy.deepcopy(draw(st.sampled_from(ODD)))
    return manifest
