"""The issuer's view: the audiences and scopes that each caller of its trust domain may have.

An issuer reads nothing else of the cluster. The view grants only what live edges allow. While an
object is unreadable or an edge is suspended, the view keeps what it already grants there, without
what was revoked, and adds nothing there.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_json

from troth.documents.token_grants import (
    LONGEST,
    MOST,
    VERSION,
    CurrentGrants,
    compress,
    current_callers,
)
from troth.pki.spiffe import SPIFFEID, spiffe_id
from troth.pki.tokens.signing import MAX_LIFETIME
from troth.planning.faults import ErrorBoundary
from troth.planning.network.issuers import issuer_url
from troth.planning.plan import Plan
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.planning.trust_domain.facts import IssuerView, KnownIssuer
from troth.planning.trust_domain.issuer.callers import callers_of
from troth.planning.trust_domain.issuer.shares import CallerEntry, Shared, share_view
from troth.planning.trust_domain.token_keys import first_key_wait, settle_of
from troth.trust.declarations.governance import NEVER
from troth.world.facts.objects import TokensSecret
from troth.world.observation.objects import (
    NARROWED,
    VIEW,
    VIEW_CUTOFFS,
    VIEW_STATE,
    WHOLE,
    read_cutoffs,
    write_cutoffs,
)

PACE = timedelta(seconds=1)
"""Minimum time between two writes of a view, so that a thousand new edges need few writes."""
NOTHING = timedelta(0)
UNREADABLE = datetime.min.replace(tzinfo=UTC)
"""Age of a caller that may be an unreadable identity."""


def plan_issuer_view(found: KnownIssuer) -> Plan:
    """Return the plan that writes the view into the Secret that a trust domain's issuer reads."""
    key, view = found.key, found.view
    if view is None or view.known is None:
        return Plan(key, "")
    domain, known, moment, written = view.domain, view.known, view.moment, view.written
    wait = PACE - timedelta(seconds=moment.uptime - written) if written is not None else NOTHING
    if known.view and wait > NOTHING:
        return Plan(key, domain.metadata.uid, due=moment.now + wait)
    settle = settle_of(domain, view.registry)
    wait = first_key_wait(known, view.bundles, settle, moment) if not known.view else NOTHING
    if wait > NOTHING:
        return Plan(key, domain.metadata.uid, due=moment.now + wait)
    boundary = ErrorBoundary()
    data = _data(view, known, boundary)
    step = UpdateIssuer(known.ref, known.uid, known.resource_version, data)
    steps = (step,) if data else ()
    return Plan(key, domain.metadata.uid, steps, errors=tuple(boundary.errors))


def _data(view: IssuerView, known: TokensSecret, boundary: ErrorBoundary) -> dict[str, bytes]:
    """Return the data to write, empty if the Secret is up to date."""
    found = _shared(view, current_callers(known.view), boundary)
    data = {VIEW: found.view} if found.view != known.view else {}
    if bool(found.cutoffs) != known.narrowed:
        data[VIEW_STATE] = NARROWED if found.cutoffs else WHOLE
    cutoffs = write_cutoffs(found.cutoffs)
    if read_cutoffs(cutoffs) != known.cutoffs:
        data[VIEW_CUTOFFS] = cutoffs
    return data


def compiled(view: IssuerView, current: CurrentGrants) -> bytes:
    """Return a trust domain's compressed view; equal views are equal bytes.

    Raises the first error that a caller's part raises.
    """
    boundary = ErrorBoundary()
    found = _shared(view, current, boundary)
    for error in boundary.errors:
        raise error
    return found.view


def _shared(view: IssuerView, current: CurrentGrants, boundary: ErrorBoundary) -> Shared:
    """Return the view. If it exceeds a limit, each namespace has its share of it."""
    callers = callers_of(view, current, boundary=boundary)
    document = {
        "version": VERSION,
        "trustDomain": view.domain.spec.domain,
        "issuer": issuer_url(view.domain, view.own_namespace),
        "maxLifetime": int(MAX_LIFETIME.total_seconds()),
        "callers": callers,
    }
    text = to_json(document)
    if len(text) <= LONGEST and len(data := compress(text)) <= MOST:
        return Shared(data, {})
    before, after = to_json({**document, "callers": {}})[:-2], b"}}"
    entries = _entries(view, callers)
    return share_view(before, entries, after, most=MOST, longest=LONGEST)


def _entries(view: IssuerView, callers: Mapping[str, Any]) -> Iterator[CallerEntry]:
    """Yield the callers with their ages. Those that are no readable identity are the oldest."""
    domain, registry = view.domain, view.registry
    known: dict[str, tuple[str, datetime, str]] = {}
    for namespace in registry.claimed_by(domain):
        for ref in registry.identities_in(namespace):
            identity = registry.identities[ref]
            account = identity.spec.workload.service_account_name
            name = spiffe_id(domain.spec.domain, namespace, account)
            age = namespace, identity.metadata.creation_timestamp or NEVER, ref.name
            known[name] = min(age, known.get(name, age))
    for name, entry in callers.items():
        oldest = SPIFFEID.parse(name).path.split("/")[2], UNREADABLE, name
        text = to_json({name: entry})[1:-1]
        yield CallerEntry(*known.get(name, oldest), text)
