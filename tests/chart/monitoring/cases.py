"""For each alert, series with which it fires, and the labels and the value that it then has."""

from dataclasses import dataclass, field

MAIN = {"namespace": "messaging", "name": "main"}
MONTHLY = {"namespace": "shop", "name": "monthly"}
ORDERS = {"namespace": "shop", "name": "orders"}
WEB = {"namespace": "shop", "name": "web"}
STRIPE = {"endpoint": "shop/stripe"}
PRODUCTION = {"trust_domain": "production"}

Series = dict[str, str]
"""Values in promtool's notation, one a minute, for each series."""


@dataclass(frozen=True)
class Case:
    """An alert does not fire `before`, and fires `at`, a number of minutes.

    `value` is `$value` as the annotations format it.
    """

    series: Series
    before: int
    at: int
    value: str = ""
    labels: dict[str, str] = field(default_factory=dict)


def series(metric: str, values: str, **labels: str) -> Series:
    inner = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {f"{metric}{{{inner}}}": values}


def replicas(metric: str, values: str, **labels: str) -> Series:
    """Return the series of two replicas, which export the same."""
    return series(metric, values, pod="a", **labels) | series(metric, values, pod="b", **labels)


def deliveries(values: str, status: str, reason: str = "") -> Series:
    name = "troth_gateway_deliveries_total"
    return series(name, values, pod="g", status=status, reason=reason, **STRIPE)


def decisions(values: str, outcome: str) -> Series:
    name, grant = "troth_issuer_decisions_total", "client_credentials"
    return series(name, values, pod="i", grant=grant, outcome=outcome)


def buckets(metric: str, below: str, above: str, bound: str, **labels: str) -> Series:
    """Return a histogram of events up to a bound and up to infinity."""
    metric += "_bucket"
    return series(metric, below, le=bound, **labels) | series(metric, above, le="+Inf", **labels)


# renewed at 60 minutes and expired at 180, if nothing happens
CERTIFICATE = replicas("troth_certificate_renewal_timestamp_seconds", "3600x400", **WEB) | replicas(
    "troth_certificate_expiration_timestamp_seconds", "10800x400", **WEB
)

LEADER = "troth_leader"
LAG, READABLE = "troth_dead_letters_lag", "troth_dead_letters_topic_readable"
LETTERS, OLDEST = "troth_dead_letters", "troth_dead_letters_oldest_timestamp_seconds"
PENDING, SETTLED = "troth_audit_log_pending", "troth_audit_log_letters_total"
POLICY = {"policy": "shop/orders"}
LIMIT = {"outcome": "Quarantined", "reason": "RedriveLimitReached"}
REQUESTS = {"verb": "patch", "resource": "secrets"}
UNFIT = {"ready": "False", "pod": "a"}

CASES: dict[str, tuple[Case, ...]] = {
    "TrothNoLeader": (
        Case(series(LEADER, "1x9 0x20", pod="a") | series(LEADER, "0x30", pod="b"), 11, 13),
        Case(
            series(LEADER, "1x30", pod="a", shard="0")
            | series(LEADER, "1x9 0x20", pod="b", shard="1")
            | series(LEADER, "0x30", pod="a", shard="1"),
            11,
            13,
        ),
        Case(  # `shards` becomes 1: replicas of that setting wait for those that lead
            series(LEADER, "1x9 0x20", pod="a", shard="0")
            | series(LEADER, "1x9 0x20", pod="a", shard="1")
            | series(LEADER, "0x30", pod="c"),
            11,
            13,
        ),
        Case(  # `shards` becomes 2: as before, until the leader ends
            series(LEADER, "1x9 0x20", pod="a") | series(LEADER, "0x30", pod="c", shard="0"),
            11,
            13,
        ),
        Case({}, 1, 3),  # nothing is scraped
    ),
    "TrothLeadershipUnstable": (
        Case(
            series(LEADER, "0 1 0 1 0 1x20", pod="a") | series(LEADER, "1 0 1 0 1 0x20", pod="b"),
            3,
            8,
            "10",
        ),
    ),
    "TrothSecondOperator": (
        Case(
            series("troth_claim_held_by_other", "0x5 1x30", pod="b")
            | series("troth_claim_held_by_other", "0x35", pod="a"),
            7,
            8,
            "",
            {"pod": "b"},
        ),
    ),
    "TrothClockSkew": (
        Case(
            series("troth_clock_skew_seconds", "0x5 -90x30", pod="a")
            | series("troth_clock_skew_seconds", "2x35", pod="b"),
            15,
            17,
            "1m 30s",
            {"pod": "a"},
        ),
    ),
    "TrothEventLoopBlocked": (
        Case(
            series("troth_event_loop_longest_stall_seconds", "0.1 7x5", pod="a"),
            1,
            3,
            "7s",
            {"pod": "a"},
        ),
    ),
    "TrothQueueStuck": (
        Case(
            series("troth_queue_oldest_wait_seconds", "0+60x20", pod="a")
            | series("troth_queue_oldest_wait_seconds", "0x20", pod="b"),
            7,
            8,
            "8m 0s",
        ),
    ),
    "TrothQueueSlow": (
        Case(
            buckets("troth_queue_wait_seconds", "0+1x60", "0+2x60", "60", kind="ServiceIdentity"),
            10,
            20,
            "1m 0s",
        ),
    ),
    "TrothInternalErrors": (
        Case(
            replicas("troth_internal_errors", "2x30", kind="TopicPolicy"),
            9,
            11,
            "2",
            {"kind": "TopicPolicy"},
        ),
    ),
    "TrothWritesRefused": (
        Case(
            replicas("troth_writes_refused", "2x30", kind="Secret"), 9, 11, "2", {"kind": "Secret"}
        ),
    ),
    "TrothObjectsContested": (
        Case(
            replicas("troth_objects_contested", "1x30", kind="NetworkPolicy"),
            9,
            11,
            "1",
            {"kind": "NetworkPolicy"},
        ),
    ),
    "TrothRepeatedDrift": (
        Case(
            series("troth_drift_restored_total", "0x59 0+3x60", kind="TopicPolicy", pod="a"),
            61,
            64,
            "12",
            {"kind": "TopicPolicy"},
        ),
    ),
    "TrothIdentitiesNotNarrowed": (
        Case(replicas("troth_identities_not_narrowed", "1x9"), 4, 6, "1"),
    ),
    "TrothDocumentNearlyFull": (
        Case(
            replicas("troth_document_fill_ratio", "0.9x60", document="ledger", **MAIN),
            14,
            16,
            "90%",
            {"document": "ledger", **MAIN},
        ),
    ),
    "TrothUnreadableObjects": (
        Case(
            replicas("troth_unreadable_objects", "1x30", kind="Service"),
            9,
            11,
            "1",
            {"kind": "Service"},
        ),
    ),
    "TrothWatchFailing": (
        Case(
            replicas("troth_watch_age_seconds", "0+60x30", kind="ServiceIdentity", namespace="shop")
            | replicas("troth_watch_age_seconds", "60x30", kind="Secret", namespace="shop"),
            6,
            8,
            "8m 0s",
            {"kind": "ServiceIdentity", "namespace": "shop"},
        ),
    ),
    "TrothCRDOutdated": (
        Case(
            replicas("troth_crd_fields_missing", "3x9", crd="topicpolicies.troth.dev"),
            4,
            6,
            "3",
            {"crd": "topicpolicies.troth.dev"},
        ),
    ),
    "TrothStoreFull": (
        Case(
            series("troth_api_requests_total", "0x9 0+4x20", code="StoreFull", pod="a", **REQUESTS)
            | series("troth_api_requests_total", "0+9x30", code="500", pod="a", **REQUESTS),
            8,
            15,
            "20",
        ),
    ),
    "TrothStoreRestored": (Case(series("troth_store_restores_total", "0x9 1x90", pod="a"), 9, 20),),
    "TrothCacheInconsistent": (
        Case(
            series(
                "troth_cache_inconsistencies_total",
                "0x9 1x90",
                kind="Secret",
                difference="Ghost",
                pod="a",
            ),
            9,
            20,
            labels={"kind": "Secret", "difference": "Ghost"},
        ),
    ),
    "TrothIdentityNotReady": (
        Case(
            replicas(
                "troth_resources", "3x30", kind="ServiceIdentity", ready="False", reason="Conflict"
            ),
            14,
            16,
            "3",
            {"reason": "Conflict"},
        ),
    ),
    "TrothResourceNotReady": (
        Case(
            series("troth_resources", "1x30", kind="TopicPolicy", reason="NameTooLong", **UNFIT)
            | series(
                "troth_resources", "1x30", kind="MessageBroker", reason="Unreachable", **UNFIT
            ),
            14,
            16,
            "1",
            {"kind": "TopicPolicy", "reason": "NameTooLong"},
        ),
    ),
    "TrothCertificateNotRenewed": (Case(CERTIFICATE, 90, 120, "50%", WEB),),
    "TrothCertificateExpires": (
        Case(CERTIFICATE, 150, 160, "83.33%", WEB),
        Case(CERTIFICATE, 150, 240, "150%", WEB),  # expired
    ),
    "TrothCertificatesUntrusted": (
        Case(
            replicas("troth_leaves", "2x30", authority="unknown", **PRODUCTION)
            | replicas("troth_leaves", "9x30", authority="3fa9", **PRODUCTION),
            9,
            11,
            "2",
            PRODUCTION,
        ),
    ),
    "TrothAuthorityExpires": (
        Case(
            replicas(
                "troth_authority_expiration_timestamp_seconds",
                "2595600x200",  # 30 days and an hour
                state="Active",
                fingerprint="3fa9",
                **PRODUCTION,
            ),
            119,
            130,
            "29d 22h 50m 0s",
            PRODUCTION,
        ),
    ),
    "TrothRotationBlocked": tuple(
        Case(
            replicas(metric, "1x400", phase="Distributing", **PRODUCTION), 359, 361, "", PRODUCTION
        )
        for metric in ("troth_rotation_phase", "troth_token_rotation_phase")
    ),
    "TrothRotationOverdue": (
        Case(
            replicas("troth_credential_rotation_next_timestamp_seconds", "3600x300", **MONTHLY),
            179,
            190,
            "2h 10m 0s",
            MONTHLY,
        ),
    ),
    "TrothRotationNotReady": (
        Case(
            replicas(
                "troth_resources",
                "1x30",
                kind="CredentialRotation",
                ready="False",
                reason="TargetMissing",
            ),
            14,
            16,
            "1",
            {"reason": "TargetMissing"},
        ),
    ),
    "TrothBrokerUnreachable": (
        Case(replicas("troth_broker_reachable", "1x9 0x30", **MAIN), 19, 21, "", MAIN),
    ),
    "TrothBrokerNotObserved": (
        Case(
            series("troth_broker_last_look_age_seconds", "0+60x300", pod="a", **MAIN),
            124,
            130,
            "2h 10m 0s",
            MAIN,
        ),
    ),
    "TrothBrokerBraked": (
        Case(replicas("troth_broker_braked_removals", "37x30", **MAIN), 4, 6, "37", MAIN),
    ),
    "TrothBrokerRejectsChanges": (
        Case(
            series("troth_broker_changes_total", "0x9 0+1x60", change="Refused", pod="a", **MAIN),
            20,
            40,
            "30",
            MAIN,
        ),
    ),
    "TrothGrantsNotInSync": (
        Case(
            replicas("troth_topic_grants", "2x60", state="Live", **MAIN)
            | replicas("troth_topic_grants", "5x60", state="AwaitingPolicy", **MAIN),
            29,
            31,
            "2",
            MAIN,
        ),
    ),
    "TrothUnvalidatedConsumer": (
        Case(replicas("troth_topic_edges_validated", "1x9 0x60", **ORDERS), 39, 41, "", ORDERS),
        Case(replicas("troth_topic_edges_validated", "0x60", **ORDERS), 29, 31, "", ORDERS),
    ),
    "TrothWebhooksRejected": (
        Case(
            deliveries("0+3x60", "401", "signature-wrong") | deliveries("0+1x60", "200"),
            10,
            30,
            "75%",
            STRIPE,
        ),
    ),
    "TrothWebhookRejectionsUnusual": (
        # one in ten minutes, then twelve a minute
        Case(
            deliveries("0+0.1x300 42+12x60", "401", "signature-wrong")
            | deliveries("0+60x400", "200"),
            300,
            335,
            "200m",
            STRIPE,
        ),
        # none before
        Case(deliveries("_x300 0+12x60", "401", "signature-wrong"), 302, 335, "200m", STRIPE),
    ),
    "TrothWebhooksUndelivered": (
        Case(
            deliveries("0+2x60", "503", "unreachable") | deliveries("0+9x60", "503", "in-flight"),
            10,
            30,
            "30",
            STRIPE,
        ),
    ),
    "TrothGatewaySecretsUnreadable": (
        Case(series("troth_gateway_unreadable_secrets", "1x30", pod="g"), 9, 11, "1", {"pod": "g"}),
    ),
    "TrothGatewayConnectionsClosed": (
        Case(
            series("troth_gateway_malformed_requests_total", "0+10x60", reason="no-room", pod="g")
            | series("troth_gateway_malformed_requests_total", "0+90x60", reason="head", pod="g"),
            5,
            20,
            "100",
            {"reason": "no-room"},
        ),
    ),
    "TrothIssuerFailing": (
        Case(
            decisions("0+1x60", "temporarily_unavailable") | decisions("0+9x60", "issued"),
            8,
            20,
            "10",
            {"grant": "client_credentials"},
        ),
    ),
    "TrothTokensRejected": (
        Case(
            decisions("0+3x60", "invalid_scope") | decisions("0+1x60", "issued"),
            10,
            30,
            "75%",
            {"grant": "client_credentials", "outcome": "invalid_scope"},
        ),
    ),
    "TrothIssuerSlow": (
        Case(
            buckets(
                "troth_issuer_decision_seconds", "0+1x60", "0+2x60", "5", grant="client_credentials"
            ),
            9,
            20,
            "5s",
        ),
    ),
    "TrothIssuerConnectionsClosed": (
        Case(
            series("troth_issuer_refused_connections_total", "0+9x60", reason="no-room", pod="i"),
            5,
            20,
            "90",
            {"reason": "no-room"},
        ),
    ),
    "TrothCriticalFinding": (
        Case(
            series("troth_findings", "2x60", rule="TR804", severity="critical", pod="u")
            | series("troth_findings", "9x60", rule="TR701", severity="medium", pod="u"),
            14,
            16,
            "2",
            {"rule": "TR804"},
        ),
    ),
    "TrothAuditIncomplete": (
        Case(
            series("troth_audit_unseen", "1x90", rule="TR701", reason="Denied", pod="u")
            | series("troth_audit_unseen", "0x90", rule="TR804", reason="Failed", pod="u"),
            59,
            61,
            labels={"rule": "TR701"},
        ),
        Case(
            series("troth_audit_unseen", "1x90", rule="TR801", reason="Failed", pod="u"),
            59,
            61,
            labels={"rule": "TR801"},
        ),
    ),
    "TrothAuditStale": (
        Case(
            series("troth_audit_last_evaluation_timestamp_seconds", "0x90", pod="u"),
            35,
            40,
        ),
        Case(series("troth_leader", "1x90", pod="a"), 4, 6),
    ),
    "TrothDeadLettersOld": (
        Case(series(OLDEST, "3600x1600", pod="r", **POLICY), 1510, 1530, "1d 0h 30m 0s", POLICY),
    ),
    "TrothDeadLettersMany": (
        Case(
            series(LETTERS, "900x60", reason="SchemaInvalid", state="Pending", pod="r", **POLICY)
            | series(LETTERS, "200x60", reason="Expired", state="Pending", pod="r", **POLICY)
            | series(LETTERS, "9000x60", reason="Expired", state="Redriven", pod="r", **POLICY),
            14,
            16,
            "1100",
            POLICY,
        ),
    ),
    "TrothDeadLettersNotIndexed": (
        Case(series(LAG, "2000x60", pod="r", **POLICY), 14, 16, labels=POLICY),
        Case(series(READABLE, "1x9 0x60", pod="r", **POLICY), 23, 26, labels=POLICY),
    ),
    "TrothAuditLogPending": (
        Case(
            series(PENDING, "3x60", sink="stdout", pod="r")
            | series(PENDING, "0x60", sink="topic", pod="r"),
            9,
            11,
            "3",
            {"sink": "stdout"},
        ),
    ),
    "TrothAuditLogNotPublished": (
        Case(
            series(PENDING, "3x60", sink="topic", pod="r")
            | series(PENDING, "0x60", sink="stdout", pod="r"),
            9,
            11,
            "3",
            {"sink": "topic"},
        ),
    ),
    "TrothReviewStuck": (
        Case(
            series("troth_review_progress_timestamp_seconds", "3600x300", pod="r", **POLICY),
            184,
            190,
            "2h 10m 0s",
            POLICY,
        ),
    ),
    "TrothRedriveLimitReached": (
        # the first letter that this process settles so
        Case(series(SETTLED, "_x9 3x30", pod="r", **LIMIT, **POLICY), 8, 15, "3", POLICY),
        Case(series(SETTLED, "5x69 5+1x100", pod="r", **LIMIT, **POLICY), 65, 150, "60", POLICY),
    ),
}

_KINDS = "TrustDomain ServiceIdentity MessageBroker TopicPolicy WebhookEndpoint CredentialRotation"
_GONE = "9999999x200"  # a time that is far away

HEALTHY: Series = {
    **series(LEADER, "1x200", pod="a"),
    **series(LEADER, "0x200", pod="b"),
    **series("troth_event_loop_longest_stall_seconds", "0.2x200", pod="a"),
    **series("troth_queue_oldest_wait_seconds", "0 3 0 1x200", pod="a"),
    **buckets("troth_queue_wait_seconds", "0+9x200", "0+9x200", "0.5", kind="TrustDomain"),
    **replicas("troth_identities_not_narrowed", "0x200"),
    **replicas("troth_watch_age_seconds", "0 60 20 150x197", kind="Secret", namespace=""),
    **series("troth_drift_restored_total", "0+0.05x200", kind="TopicPolicy", pod="a"),
    **series("troth_store_restores_total", "0x200", pod="a"),
    **series("troth_cache_inconsistencies_total", "0x200", kind="Secret", difference="Ghost"),
    **series("troth_api_requests_total", "0+9x200", code="200", pod="a", **REQUESTS),
    **{
        name: values
        for kind in _KINDS.split()
        for name, values in replicas(
            "troth_resources", "5x200", kind=kind, ready="True", reason="Ready"
        ).items()
    },
    **replicas("troth_certificate_renewal_timestamp_seconds", _GONE, **WEB),
    **replicas("troth_certificate_expiration_timestamp_seconds", "19999999x200", **WEB),
    **replicas("troth_leaves", "9x200", authority="3fa9", **PRODUCTION),
    **replicas("troth_leaves", "0x200", authority="unknown", **PRODUCTION),
    **replicas(
        "troth_authority_expiration_timestamp_seconds",
        _GONE,
        state="Active",
        fingerprint="3fa9",
        **PRODUCTION,
    ),
    **replicas("troth_rotation_phase", "1x200", phase="Idle", **PRODUCTION),
    **replicas("troth_rotation_phase", "0x200", phase="Distributing", **PRODUCTION),
    **replicas("troth_credential_rotation_next_timestamp_seconds", _GONE, **MONTHLY),
    **replicas("troth_broker_reachable", "1x200", **MAIN),
    **series("troth_broker_last_look_age_seconds", "30x200", pod="a", **MAIN),
    **replicas("troth_broker_braked_removals", "0x200", **MAIN),
    **series("troth_broker_changes_total", "0x200", change="Refused", pod="a", **MAIN),
    **replicas("troth_topic_grants", "5x200", state="InSync", **MAIN),
    **replicas("troth_topic_edges_validated", "1x200", **ORDERS),
    **deliveries("0+60x200", "200"),
    **deliveries("0+1x200", "401", "signature-wrong"),
    **deliveries("0+0.1x200", "503", "unreachable"),
    **series("troth_gateway_unreadable_secrets", "0x200", pod="g"),
    **series("troth_gateway_malformed_requests_total", "0+1x200", reason="no-room", pod="g"),
    **decisions("0+60x200", "issued"),
    **decisions("0+1x200", "invalid_scope"),
    **decisions("0+0.1x200", "temporarily_unavailable"),
    **buckets(
        "troth_issuer_decision_seconds", "0+9x200", "0+9x200", "0.1", grant="client_credentials"
    ),
    **series("troth_issuer_refused_connections_total", "0+1x200", reason="no-room", pod="i"),
    **series("troth_findings", "0x200", rule="TR804", severity="critical", pod="u"),
    **series("troth_findings", "9x200", rule="TR701", severity="medium", pod="u"),
    **series("troth_audit_unseen", "0x200", rule="TR701", reason="Denied", pod="u"),
    **series("troth_audit_unseen", "1x200", rule="TR703", reason="NotConfigured", pod="u"),
    **series("troth_audit_unseen", "1x200", rule="TR102", reason="NotShown", pod="u"),
    **series("troth_audit_last_evaluation_timestamp_seconds", "0+60x200", pod="u"),
    **series(LETTERS, "9x200", reason="SchemaInvalid", state="Pending", pod="r", **POLICY),
    **series(LETTERS, "9000x200", reason="SchemaInvalid", state="Quarantined", pod="r", **POLICY),
    **series(OLDEST, "0+60x200", pod="r", **POLICY),
    **series(OLDEST, "0x200", pod="r", policy="shop/quiet"),
    **series(LAG, "0 900 3x198", pod="r", **POLICY),
    **series(READABLE, "1x200", pod="r", **POLICY),
    **series(PENDING, "0 3 0x198", pod="r", sink="stdout"),
    **series("troth_review_progress_timestamp_seconds", "0+60x200", pod="r", **POLICY),
    **series(SETTLED, "0+9x200", outcome="Redriven", reason="", pod="r", **POLICY),
    **series(SETTLED, "7x200", pod="r", **LIMIT, **POLICY),
}
"""An installation without a fault."""
