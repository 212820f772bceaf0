"""The Secret with a sender's keys: its first key, and its rotation."""

from troth.planning.owned_objects import rechecks
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.webhooks.judged import JudgedEndpoint
from troth.planning.webhooks.keys import CONDITION


@fails_closed(unplanned(CONDITION))
def plan_sender_keys(judged: JudgedEndpoint) -> Part:
    """Return the part on the keys of an endpoint, with the step that creates the first one."""
    tried = judged.keys
    return Part(
        verdicts=(tried.verdict,),
        steps=(tried.step,) if tried.step is not None else (),
        dues=rechecks(judged.view.generated),
    )


@fails_closed(unplanned())
def plan_secret_rotation(judged: JudgedEndpoint) -> Part:
    """Return the part with the next step of the secret's rotation."""
    state = judged.rotation
    wait = () if state.wait is None else (judged.view.moment.now + state.wait,)
    due = () if state.due is None else (state.due,)
    step = () if state.step is None else (state.step,)
    return Part(steps=step, dues=(*wait, *due))
