"""Declarations that Troth has not read for too long, so a consent may have been withdrawn there."""

from typing import NamedTuple

UNREAD = "DeclarationsUnread"
"""Reason why an edge or a grant is suspended whose declarations may be out of date."""
CONSENTING = frozenset(
    {
        *("Namespace", "TrustDomain", "ServiceIdentity", "WebhookEndpoint"),
        *("MessageBroker", "TopicPolicy"),
    }
)
"""Kinds whose objects decide whether edges and grants are live."""


class Part(NamedTuple):
    """Objects of a kind, of one namespace; those of all namespaces if it is empty."""

    kind: str
    namespace: str = ""


class Unread:
    """Parts of the declarations that are unread."""

    def __init__(self) -> None:
        self._parts: set[Part] = set()

    def note(self, part: Part, *, unread: bool) -> bool:
        """Set whether a part is unread; return whether that changed."""
        if part.kind not in CONSENTING or (part in self._parts) is unread:
            return False
        if unread:
            self._parts.add(part)
        else:
            self._parts.discard(part)
        return True

    def has(self, namespace: str) -> bool:
        """Return whether any part of one namespace is unread."""
        return any(part.namespace == namespace for part in self._parts)

    def about_edge(self, caller: str, callee: str, *, delivers: bool) -> str:
        """Return why what declares an edge may be out of date, "" if all of it is read.

        `caller` and `callee` are namespaces. `delivers` is whether the caller is a gateway, whose
        consent may be an endpoint beside the callee.
        """
        routes = [Part("WebhookEndpoint", callee)] if delivers else []
        return self._why(Part("ServiceIdentity", caller), Part("ServiceIdentity", callee), *routes)

    def about_grant(self, policy: str, identity: str, broker: str) -> str:
        """Return why what declares a grant may be out of date, "" if all of it is read.

        The arguments are namespaces.
        """
        return self._why(
            Part("TopicPolicy", policy),
            Part("ServiceIdentity", identity),
            Part("MessageBroker", broker),
        )

    def _why(self, *parts: Part) -> str:
        """Return why one of these parts, or the governance of namespaces, may be out of date."""
        if not self._parts:
            return ""
        needed = (Part("TrustDomain"), Part("Namespace"), *parts)
        either = (each for part in needed for each in (part, Part(part.kind)))
        return next((_message(each) for each in either if each in self._parts), "")


def _message(part: Part) -> str:
    place = f"namespace {part.namespace}" if part.namespace else "the cluster"
    return (
        f"Troth cannot read the objects of kind {part.kind} in {place}, so a consent may have been "
        "withdrawn there; restore the watch that the operator's log reports as failed"
    )
