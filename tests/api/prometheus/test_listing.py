"""Lists are whole, or cut where a limit asks for it and say so, or refused with the limit there is."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from aggregator.rollups.view import View
from api.prometheus.bad_query import BadQuery
from api.prometheus.evaluation import parse
from api.prometheus.listing import GROUPS_READ_MAX, LISTED_MAX, Listed, cut, first, series
from api.prometheus.matching import Matcher
from api.prometheus.metrics import Metric
from api.prometheus.sampled_numbers import Group, Numbers
from api.prometheus.selection import bounds_of


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        (None, Listed([1, 2, 3, 4], False)),
        ("", Listed([1, 2, 3, 4], False)),
        ("0", Listed([1, 2, 3, 4], False)),
        ("2", Listed([1, 2], True)),
        ("4", Listed([1, 2, 3, 4], False)),
        ("9", Listed([1, 2, 3, 4], False)),
    ],
)
def test_as_many_as_are_wanted(wanted: str | None, listed: Listed) -> None:
    """A limit of none is all; a list that has exactly as many is not cut."""
    assert cut([1, 2, 3, 4], wanted) == listed


@pytest.mark.parametrize("wanted", [None, "0", str(LISTED_MAX + 1)])
def test_more_than_may_be_listed_is_refused(wanted: str | None) -> None:
    """A list that is too long is refused with the limit, unless its first entries are asked for."""
    values = list(range(LISTED_MAX + 1))
    with pytest.raises(BadQuery, match="more than 40,000 entries") as refused:
        cut(values, wanted)
    assert (refused.value.error_type, refused.value.status) == ("execution", 422)
    assert cut(values, str(LISTED_MAX)) == Listed(values[:-1], True)
    assert cut(values[:-1], wanted) == Listed(values[:-1], False)


def test_the_first_of_too_many() -> None:
    """All of a list that is too long are its first entries, as it says; more than may be listed are refused as ever."""
    values = list(range(LISTED_MAX + 1))
    for all_of_them in (None, "", "0", str(LISTED_MAX)):
        assert first(values, all_of_them) == Listed(values[:-1], True)
    assert first(values, "2") == Listed([0, 1], True)
    assert first([1, 2], None) == Listed([1, 2], False)
    with pytest.raises(BadQuery, match="more than 40,000 entries"):
        first(values, str(LISTED_MAX + 1))


def test_a_limit_is_a_number() -> None:
    """A limit that is none is refused, and named."""
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(BadQuery, match="limit"):
            cut([], wrong)


class Dense:
    """A source of so many users, each with one call of each metric."""

    def __init__(self, users: int) -> None:
        self.views = [View(user_id=f"user-{number}") for number in range(users)]

    async def project_ids(self, matchers: Sequence[Matcher]) -> list[str]:
        return ["acme"]

    async def numbers(
        self, project_id: str, metrics: Sequence[Metric], dimensions: int, edges_us: Sequence[int], series_max: int
    ) -> list[Numbers]:
        assert len(self.views) <= series_max == GROUPS_READ_MAX
        found = []
        for metric in metrics:
            one = np.ones((len(bounds_of(metric)), 1)) if metric.part == "bucket" else np.ones(1)
            by_group: dict[Group, np.ndarray] = dict.fromkeys(((view, "") for view in self.views), one)
            found.append(Numbers(by_group))
        return found


def test_a_histogram_of_too_many_series_is_listed_as_far_as_it_goes() -> None:
    """One metric of more series than are looked at is no reason to refuse the list: its first are enough."""
    selector = parse('{__name__=~"callmeter_call_latency_seconds_bucket|callmeter_calls_total"}')
    few, many = (asyncio.run(series(Dense(users), 0, 60_000_000, [selector])) for users in (100, 5_000))
    buckets = {one["le"] for one in few if "le" in one}
    assert len(few) == 100 * (len(buckets) + 1)
    assert 5_000 * len(buckets) > 200_000
    assert LISTED_MAX < len(many) <= LISTED_MAX + len(buckets)
    assert len({tuple(one.items()) for one in many}) == len(many)
    assert first(many, None).is_cut
