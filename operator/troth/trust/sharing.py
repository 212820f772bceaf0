"""Whether two identities of a namespace could be taken for each other, and the sentence for it."""

from troth.resources.identity.spec import ServiceIdentity, Workload
from troth.trust.selectors import overlap


def collide(first: Workload, second: Workload) -> bool:
    """Say whether two workloads have one ServiceAccount, or could have one pod."""
    return first.service_account_name == second.service_account_name or overlap(
        first.pod_selector, second.pod_selector
    )


def sharing_message(identity: ServiceIdentity, other: ServiceIdentity) -> str:
    """Return what an identity shares with another one, and what to do about it."""
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
