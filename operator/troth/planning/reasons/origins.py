"""What a reason is about, if it is not the spec of the resource itself.

`troth check` judges files without a cluster or a broker, so some reasons only mean that these are
missing. `troth status` lists the resources whose objects drift.
"""

from enum import Enum


class Origin(Enum):
    """What a reason is about."""

    BROKER = "a broker that Troth has not contacted yet"
    SECRET = "a Secret that does not exist yet"  # noqa: S105 - not a secret
    OBJECT = "an object of another owner"
    MODE = "a mode that does not enforce"
    INVALID = "another resource that is invalid"
    MISSING = "another resource that does not exist"
    DRIFT = "an object that is not as Troth applies it"


_REASONS = {
    Origin.BROKER: "AwaitingBroker AwaitingCredential Changing NotSeenYet",
    Origin.SECRET: "AuthorityMissing AuthorityNotReady SecretMissing SecretPending",
    Origin.OBJECT: "SchemaMissing",
    Origin.MODE: "BrokerObserved",
    Origin.INVALID: (
        "BrokerInvalid EndpointInvalid GatewayInvalid IdentityInvalid InvalidSpec PeerInvalid "
        "PolicyInvalid TargetInvalid TrustDomainInvalid"
    ),
    Origin.MISSING: (
        "BrokerMissing GatewayMissing IdentityMissing NoTrustDomain PeerMissing PolicyMissing "
        "TargetMissing"
    ),
    Origin.DRIFT: "Braked Conflict Fighting WriteRefused",
}
ORIGINS = {reason: origin for origin, reasons in _REASONS.items() for reason in reasons.split()}
"""Origins of reasons, the same in every condition. A reason without one is about the spec."""
