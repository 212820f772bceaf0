"""The issuer's view: the audiences and scopes that each caller of its trust domain may have.

An issuer reads nothing else of the cluster. The view grants only what live edges allow. While an
object is unreadable or an edge is suspended, the view keeps what it already grants there, without
what was revoked, and adds nothing there.
"""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import to_json

from troth.pki.spiffe import SPIFFEID, spiffe_id
from troth.pki.tokens.signing import MAX_LIFETIME
from troth.planning.faults import Isolation
from troth.planning.moment import Moment
from troth.planning.network.issuers import issuer_url
from troth.planning.owned_objects import is_child
from troth.planning.plan import Plan
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.planning.trust_domain.issuer_callers import CurrentView, callers_of
from troth.planning.trust_domain.token_keys import first_key_wait
from troth.planning.trust_domain.view_shares import CallerEntry, Shared, share_view
from troth.resources.schema.bounded_json import read_json
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import NEVER
from troth.world.facts.objects import TokensSecret
from troth.world.keys import Key
from troth.world.observation.objects import (
    NARROWED,
    VIEW,
    VIEW_CUTOFFS,
    VIEW_STATE,
    WHOLE,
    read_cutoffs,
    write_cutoffs,
)
from troth.world.world import World

VERSION = "v1alpha1"
PACE = timedelta(seconds=1)
"""Minimum time between two writes of a view, so that a thousand new edges need few writes."""
NOTHING = timedelta(0)
UNREADABLE = datetime.min.replace(tzinfo=UTC)
"""Age of a caller that may be an unreadable identity."""
MOST = 900_000
"""Maximum bytes of a compressed view. A Secret holds 1 MiB, keys and bundle included."""
LONGEST = 32 * 1024 * 1024
"""Maximum bytes of an uncompressed view.

Neither the issuer nor this module decompresses more, because foreign data may expand without limit.
A repetitive view reaches this limit long before `MOST`.
"""


def plan_issuer_view(key: Key, world: World, moment: Moment) -> Plan:
    """Return the plan that writes the view into the Secret that a trust domain's issuer reads."""
    domain = world.registry.domains.get(key.ref.name)
    if domain is None or domain.metadata.deletion_timestamp or domain.spec.tokens is None:
        return Plan(key, "")
    known = world.tokens.of(domain)
    # the bundle comes first: issuers need it, and of two writes at once one would fail
    if known is None or not is_child(known, domain) or not known.bundle:
        return Plan(key, "")
    written = world.tokens.view_written.get(known.ref.name)
    wait = PACE - timedelta(seconds=moment.uptime - written) if written is not None else NOTHING
    if known.view and wait > NOTHING:
        return Plan(key, domain.metadata.uid, due=moment.now + wait)
    wait = first_key_wait(domain, known, world, moment) if not known.view else NOTHING
    if wait > NOTHING:
        return Plan(key, domain.metadata.uid, due=moment.now + wait)
    isolation = Isolation()
    data = _data(domain, world, known, moment.now, isolation)
    step = UpdateIssuer(known.ref, known.uid, known.resource_version, data)
    steps = (step,) if data else ()
    return Plan(key, domain.metadata.uid, steps, errors=tuple(isolation.errors))


def _data(
    domain: TrustDomain, world: World, known: TokensSecret, now: datetime, isolation: Isolation
) -> dict[str, bytes]:
    """Return the data to write, empty if the Secret is up to date."""
    found = _shared(domain, world, current_callers(known.view), now, isolation)
    data = {VIEW: found.view} if found.view != known.view else {}
    if bool(found.cutoffs) != known.narrowed:
        data[VIEW_STATE] = NARROWED if found.cutoffs else WHOLE
    cutoffs = write_cutoffs(found.cutoffs)
    if read_cutoffs(cutoffs) != known.cutoffs:
        data[VIEW_CUTOFFS] = cutoffs
    return data


def compiled(domain: TrustDomain, world: World, current: CurrentView, now: datetime) -> bytes:
    """Return a trust domain's compressed view; equal views are equal bytes.

    Raises the first error that a caller's part raises.
    """
    isolation = Isolation()
    found = _shared(domain, world, current, now, isolation)
    for error in isolation.errors:
        raise error
    return found.view


def _shared(
    domain: TrustDomain, world: World, current: CurrentView, now: datetime, isolation: Isolation
) -> Shared:
    """Return the view. If it exceeds a limit, each namespace has its share of it."""
    callers = callers_of(domain, world, current, now, isolation=isolation)
    document = {
        "version": VERSION,
        "trustDomain": domain.spec.domain,
        "issuer": issuer_url(domain, world.own_namespace),
        "maxLifetime": int(MAX_LIFETIME.total_seconds()),
        "callers": callers,
    }
    text = to_json(document)
    if len(text) <= LONGEST and len(view := _compressed(text)) <= MOST:
        return Shared(view, {})
    before, after = to_json({**document, "callers": {}})[:-2], b"}}"
    entries = _entries(domain, world, callers)
    return share_view(before, entries, after, most=MOST, longest=LONGEST)


def _entries(
    domain: TrustDomain, world: World, callers: Mapping[str, Any]
) -> Iterator[CallerEntry]:
    """Yield the callers with their ages. Those that are no readable identity are the oldest."""
    registry, known = world.registry, dict[str, tuple[str, datetime, str]]()
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


def _compressed(text: bytes) -> bytes:
    return gzip.compress(text, compresslevel=6, mtime=0)


def current_callers(view: bytes) -> CurrentView:
    """Return the callers in a compressed view, none if it cannot be read."""
    reader = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        document = read_json(reader.decompress(view, LONGEST), LONGEST)
    except (zlib.error, ValueError):
        return {}
    callers = document.get("callers") if isinstance(document, dict) else None
    if not isinstance(callers, dict):
        return {}
    return {name: entry for name, entry in callers.items() if isinstance(entry, dict)}
