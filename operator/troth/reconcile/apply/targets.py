"""Where the steps of plans write."""

from troth.planning.plan import (
    ActivateRoot,
    ActivateTokenKey,
    AdoptAuthority,
    Apply,
    ChangeBroker,
    CopyAuthority,
    CreateRoot,
    CreateTokenKey,
    DropSlots,
    IssueLeaf,
    ObserveBroker,
    PrepareRoot,
    PrepareTokenKey,
    Remove,
    Restart,
    SetFinalizers,
    Step,
    TurnAdmin,
    TurnCredential,
    UpdateIssuer,
    UpdatePublic,
)
from troth.planning.webhooks.steps import CompileEndpoint, TurnWebhookKeys
from troth.resources.references import Ref


def place_of(step: Step) -> tuple[str, Ref]:
    """Return the kind and place of what a step writes or removes."""
    match step:
        case (
            Apply()
            | CreateRoot()
            | AdoptAuthority()
            | CreateTokenKey()
            | IssueLeaf()
            | UpdatePublic()
            | TurnCredential()
            | TurnWebhookKeys()
            | CompileEndpoint()
        ):
            return step.manifest["kind"], Ref.of(step.manifest)
        case Remove() | Restart() | SetFinalizers():
            return step.kind, step.ref
        case ObserveBroker() | ChangeBroker() | TurnAdmin():
            return "MessageBroker", step.broker
        case (
            PrepareRoot()
            | CopyAuthority()
            | ActivateRoot()
            | DropSlots()
            | PrepareTokenKey()
            | ActivateTokenKey()
            | UpdateIssuer()
        ):
            return "Secret", step.ref
