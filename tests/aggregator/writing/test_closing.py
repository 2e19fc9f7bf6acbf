"""Closing minutes whose cells have much beside them: what the coarser levels then say is exact."""

from typing import Any

import pytest

from aggregator.time_units import HOUR_US
from aggregator.writing import closing
from tests.support.folding import T0_US, apply, complete, open_shard, tokens
from tests.support.open_minutes import DIRECT, OPEN, close_some, coarser_rows
from tests.support.verifying import verified


@pytest.mark.parametrize("anew", [False, True])
def test_sums_of_many(anew: bool, client: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts, sums, minima and maxima are those of all levels written at once: open, closed in part, and closed; by one
    writer, or one that begins anew before each step and reads what is beside cells."""
    monkeypatch.setattr(closing, "CELLS_PER_STEP", 8)
    large = {"gpt-4o": tokens(2**63 - 1)}
    batches = [
        [
            complete(
                f"{part} {at}", at % 300, at % 300 + 1 + at % 7, usage={"gpt-4o": tokens(at, 1)}, op_name=f"op{at % 2}"
            )
            for at in range(1_200)
        ]
        for part in range(2)
    ] + [[complete(f"large {at}", 60 * at, 60 * at + 1, usage=large, op_name="op0") for at in range(4)]]
    rows = []
    for limits in (DIRECT, OPEN):
        client.flushall()
        shard = open_shard(client, limits)
        for batch in batches:
            apply(shard, batch)
        rows.append(coarser_rows(redis_url))
    assert rows[0] == rows[1]
    steps = 0
    while close_some(shard):
        assert coarser_rows(redis_url) == rows[0]
        steps += 1
        if anew:
            shard.recover()
    assert steps > 3
    assert verified(redis_url, T0_US, T0_US + HOUR_US).differences == []  # as many values are beside as totals count
