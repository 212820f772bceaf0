"""The tables in docs/reference/webhook-attacks.md equal the results of a running gateway."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.guides.pages import page
from tests.webhooks.gateway.attacks import of_bytes, of_deliveries
from tests.webhooks.gateway.attacks.observing import bare, observed

GUIDE = page("reference/webhook-attacks.md").splitlines()


def guide_rows(titles: tuple[str, ...]) -> dict[str, list[str]]:
    """The rows of the guide's table with these titles, by their first cell."""
    begins = GUIDE.index(f"| {' | '.join(titles)} |") + 2
    rows: dict[str, list[str]] = {}
    for line in GUIDE[begins:]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] not in rows
        rows[cells[0]] = cells
    return rows


@pytest.fixture
async def by_itself() -> AsyncIterator[int]:
    async with bare() as port:
        yield port


def test_guide_lists_each_attack_once() -> None:
    assert list(guide_rows(of_deliveries.ATTACKS.titles)) == list(of_deliveries.ATTACKS)
    assert list(guide_rows(of_bytes.TITLES)) == list(of_bytes.ATTACKS)


@pytest.mark.parametrize("name", of_deliveries.ATTACKS)
async def test_result_of_each_attack_is_that_in_the_guide(name: str, tmp_path: Path) -> None:
    seen = await observed(of_deliveries.ATTACKS[name], tmp_path)
    assert seen == guide_rows(of_deliveries.ATTACKS.titles)[name]


@pytest.mark.parametrize("name", of_bytes.ATTACKS)
async def test_result_of_each_byte_attack_is_that_in_the_guide(
    name: str, tmp_path: Path, by_itself: int
) -> None:
    seen = await of_bytes.row(name, tmp_path, by_itself)
    assert seen == guide_rows(of_bytes.TITLES)[name]
