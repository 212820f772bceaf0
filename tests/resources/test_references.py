"""References of objects as texts."""

import pytest

from troth.resources.references import Ref


@pytest.mark.parametrize("ref", [Ref("shop", "orders"), Ref("", "prod")])
def test_reference_is_parsed_as_it_is_written(ref: Ref) -> None:
    assert Ref.parse(str(ref)) == ref
