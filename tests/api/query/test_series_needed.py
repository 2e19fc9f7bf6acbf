"""What questions need of series: their rows are the same without all else."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.call import Call
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.series import CALL_METRICS, LATENCY, USAGE_METRICS
from aggregator.rollups.tally import tally_of
from api.contract.stats_request import AggregationType
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion
from api.query.rows import series_needed
from api.query.rows_json import make_rows
from tests.support.vectors import vector

AT = "2026-03-03T00:00:00+00:00"
counts = st.lists(st.integers(0, 3), min_size=6, max_size=6)
numbers = st.builds(lambda tokens, costs: vector([*tokens, *costs[:4]]), counts, counts | st.just([]))
calls = st.lists(
    st.builds(
        lambda ended_us, failed, usage: Call(1, b"", 0, started_us=0, ended_us=ended_us, failed=failed, usage=usage),
        st.none() | st.integers(0, 9_000),
        st.booleans(),
        st.dictionaries(st.sampled_from("ab"), numbers, max_size=2),
    ),
    max_size=5,
)


def metrics(names: Sequence[str]) -> st.SearchStrategy[tuple[MetricQuestion, ...]]:
    one = st.builds(
        MetricQuestion,
        st.sampled_from(names),
        st.lists(st.sampled_from([str(one) for one in AggregationType]), unique=True, max_size=2).map(tuple),
        st.sampled_from([(), (), (50.0, 99.0)]),
    )
    return st.lists(one, max_size=2, unique_by=lambda metric: metric.metric).map(tuple)


@given(calls, metrics(CALL_METRICS), metrics(USAGE_METRICS))
def test_rows_are_the_same_without_all_else(
    counted: list[Call], of_calls: tuple[MetricQuestion, ...], of_usage: tuple[MetricQuestion, ...]
) -> None:
    question = StatsQuestion("p/p", 0, 1, None, "UTC", of_usage, of_calls, CallFilter())
    kinds, sums_alone = series_needed(question)
    whole, needed = Merged(1), Merged(1, False, kinds, sums_alone)
    tally = tally_of(counted).packed()
    for merged in (whole, needed):
        merged.add_counts(0, tally.calls, tally.errors)
        for name, rows in tally.rows.items():
            if merged.wants(name):
                merged.add_packed(0, name, rows, b"")
                if any(metric.percentiles for metric in (of_calls if name == LATENCY else of_usage)):
                    merged.add_values(0, name, rows)
    assert make_rows(question, [AT], needed) == make_rows(question, [AT], whole)
