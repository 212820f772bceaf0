"""Random campaigns: users, tampering, faults, crashes, clocks and two copies, in any order.

A hypothesis state machine. The judges in `tests/campaign/judges` check each write and the cluster
at rest. A failure prints the shortest script of rules that shows it. `make campaign` tries many
more than `make test`.
"""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from pydantic import ValidationError

from tests import builders, strategies
from tests.builders import Manifest
from tests.campaign.cluster import KINDS
from tests.campaign.people import PeopleMachine, domains, places, spaces
from tests.campaign.stages.stage import Stage
from tests.strategies import PORTS, DeclaredEdge, campaign, more
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
SUFFIXES = {"Secret": "-identity", "NetworkPolicy": "-troth"}


@st.composite
def identities(draw: st.DrawFn) -> Manifest:
    """Draw an identity that consents to edges with some others, if the other side does too."""
    place = draw(places)
    wishes = []
    for other in draw(st.lists(places, max_size=4)):
        caller, callee = (place, other) if draw(st.booleans()) else (other, place)
        ports = tuple(draw(strategies.port_names))
        wishes.append(DeclaredEdge(caller, callee, ports, called=True, accepted=True))
    return draw(strategies.identities(place, wishes))


class Campaign(PeopleMachine[Stage]):
    """Users and their clusters, without brokers."""

    watched = KINDS

    def __init__(self, stage: Stage | None = None) -> None:
        super().__init__(stage or Stage())

    @initialize(
        declared=st.lists(identities(), max_size=5), red=domains("red"), blue=domains("blue")
    )
    def begin(self, declared: list[Manifest], red: Manifest, blue: Manifest) -> None:
        elsewhere = builders.endpoint_slice("172.16.0.1", port=9090)
        self.open(*spaces(), red, blue, *declared, elsewhere)

    # Users

    @rule(manifest=identities())
    def declare_identity(self, manifest: Manifest) -> None:
        if self.there("Namespace", "", manifest["metadata"]["namespace"]):
            self.declare(manifest)

    @rule(caller=places, callee=places, port=st.sampled_from(sorted(PORTS)))
    def agree(self, caller: tuple[str, str], callee: tuple[str, str], port: str) -> None:
        """Let both sides declare one more edge, if both can."""
        objects = self.stage.server.objects
        ends = [objects.get(("ServiceIdentity", Ref(*place))) for place in (caller, callee)]
        one, other = (copy.deepcopy(end) for end in ends)
        if one and other and caller != callee:
            one["spec"]["calls"].append(builders.call(callee[1], port, namespace=callee[0]))
            other["spec"]["accepts"].append(builders.accept(caller[1], port, namespace=caller[0]))
            for each in (one, other):
                if not self.faulty(each):
                    self.declare(each)

    @staticmethod
    def faulty(manifest: Manifest) -> bool:
        """Return whether the API server would reject it."""
        try:
            ServiceIdentity.parse(manifest)
        except ValidationError:
            return True
        return False

    # Tampering

    @rule(manifest=identities(), kind=st.sampled_from(tuple(SUFFIXES)), declared=st.booleans())
    def squat(self, manifest: Manifest, kind: str, declared: bool) -> None:
        """Put a foreign object at a name that Troth will want, perhaps at once."""
        space, name = (manifest["metadata"][part] for part in ("namespace", "name"))
        if self.squat_at(kind, space, name + SUFFIXES[kind]) and declared:
            self.declare(manifest)


TestCampaign = Campaign.TestCase
TestCampaign.settings = campaign(more(2 if THOROUGH else 1))
