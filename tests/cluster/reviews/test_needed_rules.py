"""Each forgery succeeds without the rules that reject it, so no rule is superfluous."""

from collections.abc import AsyncIterator, Iterator

import pytest

from sandbox import Sandbox
from tests.cluster.reviews.forgeries import FORGERIES, Forgery, answer_to
from tests.cluster.reviews.scene import TRUSTING, WHOLE, Scene, with_policies

SETS = sorted({forgery.rules for forgery in FORGERIES.values()})
NAMESPACE_WITHOUT = {rules: f"without-{at}" for at, rules in enumerate(SETS)}


@pytest.fixture(scope="module")
def ruled() -> Iterator[Sandbox]:
    """Yield a control plane with the policy, whole and without each set of rules."""
    lacking = {name: rules for rules, name in NAMESPACE_WITHOUT.items()}
    yield from with_policies({WHOLE: (), TRUSTING: ()} | lacking)


@pytest.fixture
async def scene(ruled: Sandbox) -> AsyncIterator[Scene]:
    scene = Scene(ruled)
    async with scene.stack:
        yield scene


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
async def test_forgery_is_accepted_without_its_rules(scene: Scene, forgery: Forgery) -> None:
    assert await answer_to(scene, forgery, NAMESPACE_WITHOUT[forgery.rules]) == ""
