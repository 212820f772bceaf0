"""All rules, one line each, by ID."""

from troth.audit.rule import Rule
from troth.audit.rules.brokers import (
    anonymous_access,
    foreign_rights,
    plaintext_listener,
    super_user,
    wildcard_rights,
)
from troth.audit.rules.credentials import (
    principal_used_elsewhere,
    shared_broker_login,
    shared_broker_secret,
)
from troth.audit.rules.events import consumer_without_guard, sensitive_topic_unprotected
from troth.audit.rules.exceptions import (
    callee_consent,
    expired_exception,
    expired_finding_exception,
    gateway_only_trust,
    long_observation,
    unverified_peer,
)
from troth.audit.rules.headers import (
    gateway_headers_reachable,
    headers_configured,
    scopes_not_proven,
)
from troth.audit.rules.identity import (
    certificate_expires,
    default_service_account,
    long_lived_token,
    shared_service_account,
    stale_trust_bundle,
)
from troth.audit.rules.network import host_network, not_enforced, uncovered_pod, widened_by_others
from troth.audit.rules.webhooks import replayable_scheme, webhook_trusts_address

RULES: tuple[Rule, ...] = (
    shared_broker_secret.RULE,
    shared_broker_login.RULE,
    principal_used_elsewhere.RULE,
    webhook_trusts_address.RULE,
    replayable_scheme.RULE,
    consumer_without_guard.RULE,
    sensitive_topic_unprotected.RULE,
    gateway_headers_reachable.RULE,
    headers_configured.RULE,
    scopes_not_proven.RULE,
    gateway_only_trust.RULE,
    unverified_peer.RULE,
    expired_exception.RULE,
    callee_consent.RULE,
    long_observation.RULE,
    expired_finding_exception.RULE,
    uncovered_pod.RULE,
    widened_by_others.RULE,
    host_network.RULE,
    not_enforced.RULE,
    default_service_account.RULE,
    shared_service_account.RULE,
    long_lived_token.RULE,
    certificate_expires.RULE,
    stale_trust_bundle.RULE,
    foreign_rights.RULE,
    wildcard_rights.RULE,
    super_user.RULE,
    anonymous_access.RULE,
    plaintext_listener.RULE,
)

RULE_BY_ID = {rule.id: rule for rule in RULES}
