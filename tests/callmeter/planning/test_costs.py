"""What a plan costs a month is bytes times prices, by hand."""

import pytest

from callmeter.planning.costs import StoragePrices, monthly_costs
from callmeter.planning.load import Deployment, Load
from tests.support.planning import plan_of


def test_bytes_times_prices() -> None:
    """Memory is paid for as far as data may fill it, disk for the file that has doubled, objects as they are."""
    costs = monthly_costs(7e9, 0.7, 100e9, StoragePrices(5, 0.1, 0.02))
    assert (costs.ram_bytes, costs.disk_bytes, costs.objects_bytes) == (10e9, 14e9, 100e9)
    assert (costs.ram_usd, costs.disk_usd, costs.objects_usd) == pytest.approx((50, 1.4, 2))
    assert costs.total_usd == pytest.approx(53.4)


def test_a_plan_pays_for_what_it_needs() -> None:
    """Objects are paid for where data is moved, and cost less than memory."""
    kept, moved = (plan_of(Load(10, seal_after_s=3_600, moves=moves), Deployment()) for moves in (False, True))
    assert kept.costs.objects_usd == 0 < moved.costs.objects_usd
    assert moved.costs.total_usd < kept.costs.total_usd
    assert kept.costs.ram_usd == pytest.approx(kept.memory.total_bytes / 0.7 / 1e9 * 5)


@pytest.mark.parametrize("wrong", [(-1, 0, 0), (0, -1, 0), (0, 0, -1)])
def test_prices_are_not_negative(wrong: tuple[float, float, float]) -> None:
    """A negative price is refused."""
    with pytest.raises(ValueError, match="negative"):
        StoragePrices(*wrong)
