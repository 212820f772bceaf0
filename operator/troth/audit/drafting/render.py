"""Writes drafts as YAML, with the clues for each entry as comments."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from troth.audit.drafting.draft import Draft, Entry, IdentityDraft, port_manifest
from troth.resources.manifests import dump_inline
from troth.resources.metadata import API_VERSION

CLUSTER = ""
"""Key of the text with cluster-scoped resources."""
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
_SEPARATOR = "---\n"


def render(draft: Draft) -> dict[str, str]:
    """Return the drafts of each namespace as one YAML stream, that of the cluster under `CLUSTER`.

    Names and texts of others are escaped, so a comment never ends before its line does.
    """
    found: dict[str, list[str]] = {}
    if draft.ungoverned:
        found[CLUSTER] = [_text(_domain(draft))]
    for each in draft.identities:
        found.setdefault(each.subject.ref.namespace, []).append(_text(_identity(each)))
    for each in draft.additions:
        found.setdefault(each.subject.ref.namespace, []).append(_text(_addition(each)))
    if draft.unplaced:
        notes = _text(_comment(each) for each in draft.unplaced)
        found.setdefault(CLUSTER, []).insert(0, notes)
    return {place: _stream(texts) for place, texts in sorted(found.items())}


def _stream(texts: list[str]) -> str:
    """Return documents as a stream; a text of comments alone is no document of its own."""
    text = texts[0]
    for before, each in pairwise(texts):
        only_comments = all(line.startswith("#") for line in before.splitlines())
        text += each if only_comments else _SEPARATOR + each
    return text


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _domain(draft: Draft) -> Iterator[str]:
    yield "# No TrustDomain governs these namespaces."
    yield "# Review domain and environment: they cannot change later."
    selector = {
        "matchExpressions": [
            {"key": _NAMESPACE_NAME, "operator": "In", "values": list(draft.ungoverned)}
        ]
    }
    network: dict[str, Any] = {}
    if draft.collector:
        network["metrics"] = draft.collector.manifest()
    yield f"apiVersion: {API_VERSION}"
    yield "kind: TrustDomain"
    yield "metadata: {name: learned}"
    yield "spec:"
    yield "  domain: learned.example"
    yield "  environment: learned"
    yield f"  namespaceSelector: {dump_inline(selector)}"
    yield "  authority: {selfManaged: {}}"
    yield "  # Workload isolates only pods with an identity. Use Namespace once all have one."
    yield "  isolation: Workload"
    if network:
        yield f"  network: {dump_inline(network)}"
    if draft.nodes:
        yield "  # Most cluster networks let the kubelet probe the node's pods. If yours does not:"
        cidrs = [f"{each}/{128 if ':' in each else 32}" for each in draft.nodes]
        yield _commented(f"network: {{probes: {{cidrs: {dump_inline(cidrs)}}}}}", "  ")


def _identity(each: IdentityDraft) -> Iterator[str]:
    subject = each.subject
    for workload in subject.workloads:
        yield _comment(str(workload))
    for note in each.notes:
        yield _comment(note)
    metadata = {"name": subject.ref.name, "namespace": subject.ref.namespace}
    yield f"apiVersion: {API_VERSION}"
    yield "kind: ServiceIdentity"
    yield f"metadata: {dump_inline(metadata)}"
    yield "spec:"
    yield "  workload:"
    yield f"    serviceAccountName: {dump_inline(subject.account)}"
    yield f"    podSelector: {dump_inline(dict(subject.selector))}"
    if each.ports:
        yield f"    ports: {dump_inline([port_manifest(port) for port in each.ports])}"
    yield "  # Troth issues a certificate. Whether the program uses it is up to the program."
    yield "  authentication: {mtls: {}}"
    yield "  enforcement: Observe"
    yield from _entries("accepts", each.accepts)
    yield from _entries("calls", each.calls)
    if each.exceptions:
        exceptions = {name: list(ports) for name, ports in each.exceptions.items()}
        yield f"  exceptions: {dump_inline(exceptions)}"


def _entries(name: str, entries: tuple[Entry, ...], indent: str = "  ") -> Iterator[str]:
    if entries:
        yield f"{indent}{name}:"
    for entry in entries:
        for comment in entry.comments:
            yield f"{indent}{_comment(comment)}"
        yield f"{indent}- {dump_inline(entry.value)}"


def _addition(each: IdentityDraft) -> Iterator[str]:
    """Yield comments that say what a ServiceIdentity that exists needs besides."""
    todo = "Add to its spec:" if each.has_entries else "It lacks no entry."
    yield _comment(f"ServiceIdentity {each.subject.ref} exists. {todo}")
    if each.ports:
        ports = [port_manifest(port) for port in each.ports]
        yield _commented(f"workload: {dump_inline({'ports': ports})}")
    for name, entries in (("accepts", each.accepts), ("calls", each.calls)):
        for line in _entries(name, entries, ""):
            yield _commented(line)
    if each.exceptions:
        exceptions = {name: list(ports) for name, ports in each.exceptions.items()}
        yield _commented(f"exceptions: {dump_inline(exceptions)}")
    for note in each.notes:
        yield _comment(note)


def _comment(text: str) -> str:
    return f"# {escaped(text)}"


def _commented(line: str, indent: str = "") -> str:
    return f"{indent}#   {escaped(line)}"


def escaped(text: str) -> str:
    """Return a text as one line of ASCII characters."""
    return text.encode("ascii", "backslashreplace").decode() if text.isprintable() else ascii(text)
