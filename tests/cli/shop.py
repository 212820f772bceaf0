"""A small shop as files for the command's tests."""

from pathlib import Path

SHOP = """
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {environment: production}}
---
apiVersion: troth.dev/v1alpha1
kind: TrustDomain
metadata: {name: production}
spec:
  domain: prod.shop.example
  environment: production
  namespaceSelector: {matchLabels: {environment: production}}
  authority: {selfManaged: {}}
---
apiVersion: troth.dev/v1alpha1
kind: ServiceIdentity
metadata: {name: payments, namespace: shop}
spec:
  workload:
    serviceAccountName: payments
    podSelector: {matchLabels: {app: payments}}
    ports: [{name: https, port: 8443}]
  authentication: {mtls: {}}
  accepts:
  - {from: {name: checkout}, ports: [https], scopes: [payments.charge]}
---
apiVersion: troth.dev/v1alpha1
kind: ServiceIdentity
metadata: {name: checkout, namespace: shop}
spec:
  workload: {serviceAccountName: checkout, podSelector: {matchLabels: {app: checkout}}}
  authentication: {mtls: {}}
  calls:
  - {to: {name: payments}, ports: [https]}
  - {to: {name: ledger}, ports: [https]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: payments, namespace: shop}
"""


def written(folder: Path, text: str = SHOP) -> Path:
    """Write the shop into a folder and return it."""
    (folder / "shop.yaml").write_text(text)
    return folder
