"""The conditions of each kind, with every reason.

`Ready` has the reason of the first condition that it depends on and that is not True. A resource
that is not ready is `Reconciling` if that reason passes without manual action, and otherwise
`Stalled`. kstatus, and with it Flux and Argo CD, distinguishes the two. The reconciler holds back a
status for a moment if its reason passes soon.
"""

from collections.abc import Iterable, Mapping

from troth.planning.reasons.condition import ConditionType, Course, condition
from troth.resources.conditions import Verdict

_WRITES = "Conflict Fighting"
"""Reasons of an object that Troth cannot keep as declared until somebody acts."""
_GOVERNANCE = (
    "DeclarationsUnread NamespaceMissing NamespaceNotWatched NamespaceOverlap NamespaceUnlisted "
    "NoTrustDomain TrustDomainInvalid TrustDomainTerminating"
)
_EDGES = (
    f"{_GOVERNANCE} CalleeNotNarrowed CallerHasNoCertificate CallerNotNarrowed Conflict "
    "EndpointInvalid EnvironmentNotAllowed FederatedRootUnconfined GatewayTrustEnded "
    "GatewayTrustExpired GatewayTrustTooLong NamespaceNotAllowed NotAccepted NotCalled "
    "NotFederated PeerInvalid PeerMissing PeerTerminating PortShared PortUndeclared ShareExceeded "
    "SharedIdentity TargetHasNoCertificate TokensNotEnabled TooManyTrustRecords"
)
_GRANTS = (
    f"{_GOVERNANCE} AccountShared BrokerInvalid BrokerMissing BrokerObserved BrokerRefused "
    "DutiesNotSeparate EnvironmentDisputed EnvironmentNotOfBroker EnvironmentNotOfNamespace "
    "GroupMissing GroupNotKnown GroupNotOwned GroupShared IdentityHasNoCertificate "
    "IdentityInvalid LedgerFull LedgerUnreadable NamespaceNotAllowed NotAtThisBroker "
    "PolicyInvalid PrincipalsShared RetryTopicShared ShareExceeded SharedIdentity StreamMissing "
    "StreamNotKnown StreamNotOwned StreamShared TopicNotOwned Unsupported"
)
_CALLS = "AdminRefused ApiServerFailed BrokerFailed ExtraMissing SecretMissing Unreachable"
"""Reasons of a broker that Troth cannot administer."""
_AUTHORITIES = (
    "AnchorMismatch AnchorMissing AnchorNotSelfSigned AnchorsContradict AuthorityExpired "
    "AuthorityMissing AuthorityNotYetValid CertificateMissing CertificateUnreadable "
    "CertificatesTooLarge ChainOutOfOrder ChainSignatureInvalid ExtendedKeyUsageTooNarrow "
    "KeyUsageMissing NameConstraintsForbidTrustDomain NotACertificate NotAnAuthority NotPEM "
    "PEMUnreadable PathTooLong PrivateKeyEncrypted PrivateKeyMismatch PrivateKeyMissing "
    "PrivateKeyTooLarge PrivateKeyUnreadable SecretMissing SubjectKeyIdentifierMissing "
    "UnsupportedKey WeakSignature"
)
"""Reasons of a CA that cannot sign."""

TERMINATING = "Terminating"
"""Reason of a resource that is being deleted. It passes without manual action once the holders of
its finalizers remove them."""

CONDITIONS: Mapping[str, tuple[ConditionType, ...]] = {
    "TrustDomain": (
        condition(
            "AuthorityReady",
            met="Active",
            stays=f"{_WRITES} {_AUTHORITIES} LifetimeTooShort TrustDomainInvalid",
            passes="Adopting CreatingRoot WriteRefused",
        ),
        condition(
            "BundleDistributed",
            met="Distributed TooManyRetired",
            stays=(
                f"{_WRITES} AuthorityNotReady FederatedRootUnconfined NamespaceOverlap "
                "NamespaceUnlisted"
            ),
            passes="Distributing WriteRefused",
        ),
        condition(
            "TokensReady",
            met="Active TokenKeyReplaced",
            stays=(
                f"{_WRITES} AuthorityNotReady IssuerNameNotAllowed LifetimeTooShort "
                "TokenKeyUnreadable ViewTooLarge"
            ),
            passes=(
                "CompilingView CreatingTokenKey DistributingTokenKey IssuingCertificate "
                "WriteRefused"
            ),
        ),
        condition(
            "NamespacesIsolated",
            met="Isolated IsolatedWithExceptions",
            stays=_WRITES,
            passes="IsolationPending WriteRefused",
        ),
        condition(
            "NamespacesWatched",
            met="Watched",
            stays="NamespaceNotWatched NamespaceUnread",
        ),
    ),
    "ServiceIdentity": (
        condition(
            "CertificateIssued",
            met="Issued NotRequired",
            stays=(
                f"{_WRITES} {_GOVERNANCE} DNSNameNotAllowed LifetimeTooShort "
                "SharedIdentity TooManyPeers"
            ),
            passes="AuthorityNotReady Issuing Terminating WriteRefused",
        ),
        condition(
            "NetworkEnforced",
            met="Denied Enforced Observing",
            stays=f"{_WRITES} {_GOVERNANCE} SharedIdentity TooManyPeers",
            passes="PolicyPending WriteRefused",
        ),
        condition(
            "CredentialsIssued",
            met="Issued",
            stays=f"{_WRITES} Unsupported",
            passes="Issuing WriteRefused",
            soon="AwaitingBroker",
        ),
        condition(
            "GatewayTrusted",
            met="GatewayTrustEnding UntilItsEnd",
            stays=(
                f"{_WRITES} GatewayTrustEnded GatewayTrustExpired GatewayTrustTooLong "
                "TooManyTrustRecords"
            ),
            passes="GatewayTrustPending WriteRefused",
        ),
        condition(
            "TokensAccepted",
            met="Accepted",
            stays=f"{_GOVERNANCE} Conflict TokensNotEnabled",
        ),
        condition("TokensIssued", stays="ShareExceeded"),
        condition(
            "WebhooksSigned",
            met="Active RotationWaits",
            stays=f"{_WRITES} TokenKeyUnreadable",
            passes="CreatingSigningKey WriteRefused",
        ),
        condition(
            "SchemasWritten",
            met="InConfigMap",
            stays=f"{_WRITES} SchemasTooLarge",
            passes="SchemasPending WriteRefused",
        ),
        condition(
            "PeersAgree",
            met="AllLive",
            stays=f"{_EDGES} IdentityNotNamed PolicyMissing",
            passes="GatewayTrustPending",
        ),
        condition(
            "PeersVerified",
            stays=(
                "Unverified UnverifiedEnding UnverifiedExpired UnverifiedTooLong "
                "UnverifiedWithoutEnd"
            ),
        ),
        condition(
            "RolledOut",
            met="InUse",
            stays=(
                f"{_GOVERNANCE} BudgetAllowsNone Fighting NoCertificate NotItsWorkload "
                "RolloutPaused RolloutsDisabled SharedIdentity WorkloadMissing"
            ),
            passes="AwaitingTurn RollingOut WriteRefused",
        ),
    ),
    "MessageBroker": (
        condition(
            "Reachable",
            met="Seen",
            stays=f"{_CALLS} BrokerUnreachable Conflict Unsupported",
            passes="NotSeenYet",
        ),
        condition(
            "InSync",
            met="InSync",
            stays=(
                f"{_WRITES} {_CALLS} Braked BrokerUnreachable ChangeRefused LedgerFull "
                "LedgerUnreadable NotEnforced Unaccounted Unsupported"
            ),
            passes="NotSeenYet Revoking WriteRefused",
            soon="AwaitingCredentials Changing",
        ),
        condition(
            "NetworkEnforced",
            met="Enforced Observing OutsideCluster ShareExceeded",
            stays=f"{_WRITES} Unsupported",
            passes="PolicyPending WriteRefused",
            soon="Changing",
        ),
        condition("Braked", met="TooManyRemovals", passes="Released"),
        condition(
            "AdminRotates",
            met="Idle Overlapping Prepared Retiring",
            stays=(
                f"{_CALLS} AdminSecretShared AwaitingCredential LedgerUnreadable MechanismTaken "
                "NewAdminRefused NotEnforced NothingToRotate"
            ),
        ),
    ),
    "TopicPolicy": (
        condition(
            "GrantsInSync",
            met="AllInSync",
            stays=f"{_WRITES} {_GRANTS} Braked LedgerLost",
            passes="BrokerUnreachable Deleting NotSeenYet Retaining Revoking WriteRefused",
            soon="AwaitingBroker AwaitingCredential",
        ),
        condition(
            "SchemaValid",
            met="SchemaRead",
            stays="SchemaInvalid SchemaMissing SchemaRefersElsewhere SchemaTooLarge",
        ),
        condition(
            "Exclusive",
            met="OnlyGranted",
            stays="BrokerNotObserved ForeignAccess",
            passes="NotSeenYet",
        ),
        condition(
            "PeersAgree",
            met="AllAgree",
            stays="IdentityMissing IdentityTerminating PolicyNotNamed",
        ),
        condition(
            "EdgesValidated",
            met="AllConsumersValidate",
            stays="NotObservable UnvalidatedConsumer UnvalidatedProducer",
            passes="NoConsumerSeen NotSeenYet",
        ),
        condition("RetentionAllowed", met="Allowed", stays="Denied"),
    ),
    "WebhookEndpoint": (
        condition(
            "SecretAvailable",
            met="Available NotNeeded",
            stays=f"{_WRITES} KeyUnusable NoKeys SecretMissing TooManyKeys",
            passes="SecretPending WriteRefused",
        ),
        condition(
            "GatewayConfigured",
            met="Configured",
            stays=(
                f"{_WRITES} {_GOVERNANCE} EnvironmentNotAllowed FederatedRootUnconfined "
                "GatewayInvalid GatewayMissing GatewayNotServing KeyUnusable NamespaceNotAllowed "
                "NoKeys NotFederated SecretMissing SigningInvalid SourceInvalid TooManyKeys"
            ),
            passes="GatewayPending SecretPending WriteRefused",
        ),
        condition(
            "TargetReachable",
            met="Reachable",
            stays=f"{_EDGES} NoService TargetInvalid TargetMissing",
            passes="GatewayTrustPending TargetPending",
        ),
        condition(
            "UnsignedAccepted",
            met="UnsignedEnding UntilItsEnd",
            stays="UnsignedExpired UnsignedTooLong",
        ),
        condition("Served", stays="Unsupported", listed=False),
    ),
    "CredentialRotation": (
        condition(
            "Rotates",
            stays=(
                f"{_CALLS} AdminSecretShared AwaitingGivenAuthority GivenSecret LedgerUnreadable "
                "MechanismTaken NewAdminRefused NotEnforced NotFromHere NothingToRotate "
                "OverlapTooLong ProviderIssued TargetMissing TimeZoneUnknown WindowNeverOpens"
            ),
            passes="AwaitingCredential",
            listed=False,
        ),
    ),
}
"""The conditions of each kind, in the order of its status."""

_COMMON = (
    condition("Ready", met="InPlace", stays="InvalidSpec"),
    condition(TERMINATING, passes=TERMINATING, listed=False),
)


def _in_order(conditions: Iterable[ConditionType]) -> Iterable[ConditionType]:
    """Return conditions in the order in which they decide: those of the status come first."""
    return sorted((*conditions, *_COMMON), key=lambda each: not each.listed)


_PLACES: Mapping[str, Mapping[str, tuple[int, ConditionType]]] = {
    kind: {each.name: (index, each) for index, each in enumerate(_in_order(conditions))}
    for kind, conditions in CONDITIONS.items()
}


def condition_of(kind: str, type_: str) -> ConditionType:
    """Return a condition of a kind. Raises `KeyError` if the kind has none of that type."""
    return _PLACES[kind][type_][1]


def course(kind: str, verdict: Verdict) -> Course:
    """Return what ends the reason of a condition that is not True."""
    return condition_of(kind, verdict.type).course(verdict.reason)


def ordered(kind: str, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return verdicts in the order in which they decide about `Ready`, which the status has too."""
    places = _PLACES[kind]
    return sorted(verdicts, key=lambda each: places[each.type][0])


def listed_ones(kind: str, verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return the verdicts that the kind's status lists."""
    return [each for each in verdicts if condition_of(kind, each.type).listed]
