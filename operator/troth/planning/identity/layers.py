"""The layers of an identity's plan, isolated: an exception in one does not affect the others."""

from collections.abc import Callable

from troth.planning import faults
from troth.planning.faults import Isolation
from troth.planning.identity.credentials.at_brokers import BrokerLayer, plan_broker_credentials
from troth.planning.identity.credentials.webhook_signing import (
    CONDITION,
    Signing,
    plan_webhook_signing,
)
from troth.planning.identity.facts import View
from troth.planning.identity.layer import Layer
from troth.planning.identity.messages.schema_files import CONDITION as SCHEMAS
from troth.planning.identity.messages.schema_files import SchemaFiles, plan_schema_files
from troth.planning.identity.secret.certificate import plan_certificate, plan_document
from troth.planning.network.compiler import Compiled, deny_all
from troth.planning.owned_objects import is_child, policy_manifest, policy_ref
from troth.planning.steps.objects import Apply
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Enforcement
from troth.trust.declarations.narrowing import Narrowing

CERTIFICATE, CREDENTIALS, NETWORK = "CertificateIssued", "CredentialsIssued", "NetworkEnforced"
UNKNOWN = Narrowing(every_caller=True)
"""Narrowing of a document that cannot be compared with what is declared: it may grant anything."""


def certificate_layer(view: View, isolation: Isolation) -> Layer:
    """Return the layer of the certificate and the document beside it.

    If planning raises an exception, no certificate is issued and only the document is narrowed.
    """

    def document(error: Exception) -> Layer:
        verdict = faults.verdict(CERTIFICATE, error)
        return isolation.run(
            lambda: plan_document(view, verdict), lambda _: _unknown(view, verdict)
        )

    if isolation.errors:  # the inputs of the certificate are incomplete
        return document(isolation.errors[0])
    return isolation.run(lambda: plan_certificate(view), document)


def _unknown(view: View, verdict: Verdict) -> Layer:
    stands = view.secret is not None and view.certificate is not None
    return Layer(verdict, narrowing=UNKNOWN if stands else Narrowing())


def broker_layer(view: View, isolation: Isolation) -> tuple[BrokerLayer, tuple[Verdict, ...]]:
    """Return the broker credentials, and the condition of an error, in which case none changes."""
    nothing = BrokerLayer((), ())
    if isolation.errors:  # if the grants were missing, the identity would lose its credentials
        return nothing, ()
    return isolation.run(
        lambda: (plan_broker_credentials(view), ()),
        lambda error: (nothing, (faults.verdict(CREDENTIALS, error),)),
    )


def signing_layer(view: View, isolation: Isolation) -> Signing:
    """Return the plan of a gateway's signing key. If planning raises an error, the key stays."""
    return isolation.run(
        lambda: plan_webhook_signing(view),
        lambda error: Signing((faults.verdict(CONDITION, error),)),
    )


def schemas_layer(view: View, isolation: Isolation) -> SchemaFiles:
    """Return the plan of the schemas' ConfigMap. If planning raises an error, it stays."""
    if isolation.errors:  # if grants were missing, their schemas would be removed
        return SchemaFiles()
    return isolation.run(
        lambda: plan_schema_files(view),
        lambda error: SchemaFiles((faults.verdict(SCHEMAS, error),)),
    )


def closing_layer(view: View, error: Exception, closing: Callable[[], Compiled]) -> Layer:
    """Return the network layer of an identity whose policy cannot be planned.

    The policy keeps what `closing` returns. If `closing` raises an exception, it denies everything.
    """
    verdict = faults.verdict(NETWORK, error)
    observed = view.identity.spec.enforcement is Enforcement.OBSERVE
    foreign = view.policy is not None and not is_child(view.policy, view.identity)
    if observed or foreign or view.owned_policy.seen is not None:
        return Layer(verdict)
    compiled = Isolation().run(closing, lambda _: deny_all(view.identity))
    manifest = policy_manifest(
        policy_ref(view.identity.ref), view.identity, compiled.spec, compiled.live_peers
    )
    return Layer(verdict, (Apply(manifest, view.policy.resource_version if view.policy else ""),))
