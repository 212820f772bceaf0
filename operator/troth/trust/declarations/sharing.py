"""Collisions: two identities with the same ServiceAccount, or possibly with the same pods."""

from troth.resources.identity.spec import ServiceIdentity, Workload
from troth.trust.selectors import overlap


def collide(first: Workload, second: Workload) -> bool:
    """Return whether two workloads have the same ServiceAccount, or could have a pod in common."""
    return first.service_account_name == second.service_account_name or overlap(
        first.pod_selector, second.pod_selector
    )


def sharing_message(identity: ServiceIdentity, other: ServiceIdentity) -> str:
    """Return the message that says what two identities share and what to change."""
    account = identity.spec.workload.service_account_name
    same_account = account == other.spec.workload.service_account_name
    if other.metadata.deletion_timestamp is not None:
        shares = (
            f"uses the ServiceAccount {account}" if same_account else "can select the same pods"
        )
        return (
            f"ServiceIdentity {other.ref} is being deleted but {shares} until it is gone; remove "
            "its finalizers"
        )
    if same_account:
        return (
            f"ServiceIdentity {other.ref} uses the ServiceAccount {account} too; give each "
            "workload its own ServiceAccount"
        )
    return (
        f"ServiceIdentity {other.ref} can select the same pods; give both podSelectors a common "
        "label, such as app, with different values"
    )
