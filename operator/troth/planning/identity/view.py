"""Gathers the inputs of an identity's plan."""

from collections.abc import Mapping
from datetime import timedelta

from troth.pki.certificates.leaf import renewal_spread
from troth.planning import faults
from troth.planning.certificates.view import own_anchors, trusted_anchors
from troth.planning.faults import ErrorBoundary
from troth.planning.grants.message_schemas import Texts
from troth.planning.identity.credentials.view import NONE, gather_credentials
from troth.planning.identity.declared import (
    evaluation,
    has_unread_webhooks,
    keeps_schemas,
    trust_turns,
)
from troth.planning.identity.facts import IdentityView, Restartable, TerminatingView, View
from troth.planning.identity.trust_record import TrustRecord
from troth.planning.moment import Moment
from troth.planning.network.reachable_brokers import ReachableBrokers
from troth.planning.network.view import gather_reach
from troth.planning.owned_objects import (
    deny_ref,
    policy_ref,
    schemas_ref,
    secret_ref,
    trust_record_ref,
)
from troth.planning.reasons.condition import INTERNAL_ERROR
from troth.planning.trust_domain.root_rotation import reissue_wait
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.metadata import is_terminating
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.governance import Governance
from troth.trust.declarations.narrowing import NOTHING
from troth.trust.declarations.restarts import workloads
from troth.trust.declarations.sharing import SharedIdentity
from troth.trust.declarations.topics.grant_entries import Purpose
from troth.trust.declarations.trust_records import former_record
from troth.trust.edges.declared import edges_of
from troth.trust.edges.evaluation import Edge, evaluate_or_refuse
from troth.trust.edges.gateway_trust import first_accepted
from troth.trust.grants import Action
from troth.trust.topics.evaluation import TopicGrant
from troth.world.facts.objects import (
    Content,
    IdentitySecret,
    KnownAuthority,
    SigningSecret,
)
from troth.world.facts.owned import OwnedObject
from troth.world.index.webhook_signing import signing_ref
from troth.world.keys import Key, identity_key
from troth.world.reader import Reader


def gather(key: Key, reader: Reader, moment: Moment) -> IdentityView:
    """Return what is known of the identity of a key."""
    ref, unreadable = key.ref, reader.unreadable(key)
    identity = reader.registry.claimants.get(ref) if unreadable is None else None
    terminating, readable = None, None
    if identity is not None and not reader.is_terminating(ref.namespace):
        if is_terminating(identity):
            terminating = gather_terminating(identity, reader, moment)
        else:
            readable = gather_readable(identity, reader, moment)
    return IdentityView(
        key=key,
        unreadable=unreadable,
        identity=identity,
        record=readable.record if readable is not None else gather_record(ref, reader),
        since=first_accepted(identity, reader.registry) if identity is not None else None,
        terminating=terminating,
        readable=readable,
        moment=moment,
    )


def gather_readable(identity: ServiceIdentity, reader: Reader, moment: Moment) -> View:
    """Return the inputs of an identity's plan.

    If reading a part raises an exception, the view has the value that opens least, and no
    certificate may be issued from it. Edges that only peers declare are judged in `foreign`.
    """
    ref, registry = identity.ref, reader.registry
    boundary, foreign = ErrorBoundary(), ErrorBoundary()
    run, read = boundary.run, boundary.read
    governance = run(
        lambda: registry.governance(ref.namespace),
        lambda error: Governance(None, INTERNAL_ERROR, faults.sentence(error), settled=False),
    )
    domain = governance.domain
    secret, deny, schemas = _secret(ref, reader), deny_ref(ref), schemas_ref(ref)
    topics = read((), _topics, ref, reader)
    edges = run(
        lambda: edges_of(registry, ref, moment.now, evaluation(ref, registry, foreign)),
        lambda _: edges_of(registry, ref, moment.now, evaluate_or_refuse),
    )
    known = read(None, reader.authority, domain) if domain is not None else None
    return View(
        identity=identity,
        governance=governance,
        shared=run(
            lambda: registry.shared_identity(ref),
            lambda error: SharedIdentity(faults.sentence(error)),
        ),
        known_authority=known,
        anchors=read((), trusted_anchors, domain, reader) if domain is not None else (),
        own_anchors=read((), own_anchors, domain, reader) if domain is not None else (),
        owned_secret=secret,
        owned_policy=_policy(ref, reader),
        services=read((), reader.service_names, ref),
        edges=edges,
        topics=topics,
        keeps_schemas=keeps_schemas(ref, reader.messaging),
        reach=read(ReachableBrokers((), (), frozenset()), gather_reach, ref, reader),
        unread_webhooks=has_unread_webhooks(ref, registry),
        trust_turns=read((), trust_turns, ref, edges, registry),
        reissue_wait=read(timedelta(0), _reissue_wait, identity, domain, known, moment),
        rotations=reader.rotations(identity_key(ref)),
        record=gather_record(ref, reader),
        deny=reader.owned("NetworkPolicy", deny, reader.network_policy(deny)),
        signing=reader.owned("Secret", signing_ref(ref), reader.signing(ref)),
        credentials=read(NONE, gather_credentials, identity, reader),
        schema_files=reader.owned("ConfigMap", schemas, reader.config_map(schemas)),
        signed=run(lambda: reader.signed_by(known, secret.fact), lambda _: False),
        may_restart=reader.restarts_workloads(),
        workloads=read({}, _workloads, identity, reader),
        schema_texts=read({}, _schema_texts, topics, reader),
        secret_barred=reader.is_barred("Secret", secret_ref(ref)),
        unapplied=registry.unapplied.get(ref, NOTHING),
        gateways=read({}, _gateways, identity, edges, reader),
        targets=read({}, _targets, identity, edges, reader),
        ending=frozenset(
            each.callee.namespace
            for each in edges
            if each.caller == ref and reader.is_terminating(each.callee.namespace)
        ),
        cutoff=read(None, reader.cutoff, domain, ref.namespace) if domain is not None else None,
        api_endpoints=reader.api_endpoints,
        own_namespace=reader.own_namespace,
        registry=registry,
        messaging=reader.messaging,
        moment=moment,
        errors=tuple(boundary.errors),
        foreign_errors=tuple(foreign.errors),
    )


def gather_terminating(
    identity: ServiceIdentity, reader: Reader, moment: Moment
) -> TerminatingView:
    """Return the inputs of the plan of an identity that is being deleted."""
    ref = identity.ref
    governance = reader.registry.governance(ref.namespace)
    return TerminatingView(identity, governance, _secret(ref, reader), _policy(ref, reader), moment)


def _secret(identity: Ref, reader: Reader) -> OwnedObject[IdentitySecret]:
    ref = secret_ref(identity)
    return reader.owned("Secret", ref, reader.identity_secret(ref))


def _policy(identity: Ref, reader: Reader) -> OwnedObject[Content]:
    ref = policy_ref(identity)
    return reader.owned("NetworkPolicy", ref, reader.network_policy(ref))


def gather_record(identity: Ref, reader: Reader) -> TrustRecord:
    """Return the record of an identity's gateway-only trust, which outlives the identity."""
    records = reader.registry.trust_records
    ref = trust_record_ref(reader.own_namespace, identity)
    return TrustRecord(
        since=records.of(identity),
        kept=records.kept(identity),
        owned=reader.owned("ConfigMap", ref, reader.config_map(ref)),
        has_former=records.has_former(identity),
        former=reader.config_map(former_record(identity)),
        has_room=records.has_room(identity),
    )


def _workloads(identity: ServiceIdentity, reader: Reader) -> Mapping[tuple[str, Ref], Restartable]:
    found = {place: reader.workload(*place) for place in workloads(identity)}
    return {
        place: Restartable(each, reader.budget_of(each), reader.write_fault(*place))
        for place, each in found.items()
        if each is not None
    }


def _schema_texts(topics: tuple[TopicGrant, ...], reader: Reader) -> Mapping[Ref, Texts | None]:
    declared = (reader.messaging.policies.get(ref) for ref in {each.policy for each in topics})
    return {each.ref: reader.schema_texts(each) for each in declared if each is not None}


def _gateways(
    identity: ServiceIdentity, edges: tuple[Edge, ...], reader: Reader
) -> Mapping[Ref, SigningSecret]:
    callers = {each.caller for each in edges if each.callee == identity.ref}
    found = {each: reader.signing(each) for each in callers}
    return {each: secret for each, secret in found.items() if secret is not None}


def _targets(
    identity: ServiceIdentity, edges: tuple[Edge, ...], reader: Reader
) -> Mapping[Ref, IdentitySecret]:
    if identity.spec.serves_webhooks is None:
        return {}
    callees = {each.callee for each in edges if each.caller == identity.ref}
    found = {each: reader.identity_secret(secret_ref(each)) for each in callees}
    return {each: secret for each, secret in found.items() if secret is not None}


def _reissue_wait(
    identity: ServiceIdentity,
    domain: TrustDomain | None,
    known: KnownAuthority | None,
    moment: Moment,
) -> timedelta:
    """Return how long a leaf of a root that is being replaced waits to be reissued."""
    if domain is None or known is None or known.retiring is None:
        return timedelta(0)
    return reissue_wait(domain, known, renewal_spread(identity.metadata.uid), moment)


def _topics(ref: Ref, reader: Reader) -> tuple[TopicGrant, ...]:
    """Return the grants of an identity, and those of others that its document names.

    A consumer's document names producers and the reviewer, a reviewer's producers and consumers.
    """
    found = [*reader.grants_for_identity(ref)]
    uses = reader.messaging.uses(ref)
    for policy in sorted(uses.consumes | uses.reviews):
        named = {Action.PUBLISH}
        named |= {Action.REVIEW} if policy in uses.consumes else set()
        named |= {Action.CONSUME} if policy in uses.reviews else set()
        for each in reader.grants_of(policy):
            of_document = each.entry.purpose in {Purpose.MESSAGES, Purpose.RETRY, Purpose.REVIEW}
            if each.entry.identity != ref and of_document and each.entry.action in named:
                found.append(each)
    return tuple(found)
