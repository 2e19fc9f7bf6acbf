"""What `POST /calls/stats` understands, and what it refuses where."""

import json
from typing import Any

import pytest

from api.contract.stats_request import KEYS_MAX, read_stats_question
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion
from api.refusals import PROBLEMS_MAX, Refusal
from tests.api.contract.golden_requests import body_of, golden

MARCH_US = 1_772_323_200_000_000  # 2026-03-01T00:00:00Z
NOW_US = MARCH_US + 3_600_000_000
SMALLEST = {"project_id": "acme/agents", "start": "2026-03-01T00:00:00Z"}


def read(**fields: Any) -> StatsQuestion:
    """The question of the smallest request with these fields."""
    return read_stats_question(json.dumps(SMALLEST | fields).encode(), NOW_US)


def loc_of(body: bytes) -> tuple[str | int, ...]:
    """Returns where the first problem of a refused body is."""
    with pytest.raises(Refusal) as refused:
        read_stats_question(body, NOW_US)
    assert refused.value.status == 422
    return refused.value.problems[0].loc


def refused_at(**fields: Any) -> tuple[str | int, ...]:
    """Returns where the first problem of the smallest request with these fields is."""
    return loc_of(json.dumps(SMALLEST | fields).encode())


@pytest.mark.parametrize("case", golden("/calls/stats", 422))
def test_golden_refusals(case: dict[str, Any]) -> None:
    """Every request that the golden cases refuse is refused at the place they name."""
    assert loc_of(body_of(case))[: len(case["loc"])] == tuple(case["loc"])


@pytest.mark.parametrize("case", golden("/calls/stats", 200))
def test_golden_keys(case: dict[str, Any]) -> None:
    """Every request that the golden cases answer is understood, with the answer's keys in their order."""
    question = read_stats_question(body_of(case), NOW_US * 2)
    for metrics, buckets, stem in (
        (question.call_metrics, case["expected"]["call_buckets"], ["timestamp"]),
        (question.usage_metrics, case["expected"]["usage_buckets"], ["timestamp", "model"]),
    ):
        if buckets:
            assert stem + [key for metric in metrics for key in metric.keys] + ["count"] == list(buckets[0])


def test_smallest_request() -> None:
    """Project and start are enough: the window ends now, in UTC, and nothing is restricted."""
    assert read() == StatsQuestion("acme/agents", MARCH_US, None, None, "UTC", (), (), CallFilter())


@pytest.mark.parametrize(
    ("written", "us"),
    [
        ("2026-03-01T00:00:00Z", 0),
        ("2026-03-01T00:00:00", 0),
        ("2026-03-01t00:00:00z", 0),
        ("2026-03-01 00:00:00Z", 0),
        ("2026-03-01T05:45:00+05:45", 0),
        ("2026-02-28T14:30:00-09:30", 0),
        ("2026-03-01T00:00:00-00:00", 0),
        ("2026-03-01T00:00:00.5Z", 500_000),
        ("2026-03-01T00:00:00.000001+00:00", 1),
        ("2026-03-01T00:00:00.0000019Z", 1),
        ("2026-02-28T23:59:59.9999999Z", -1),
    ],
)
def test_instants(written: str, us: int) -> None:
    """Instants come with any offset, without one they are UTC, and what is past the microsecond is cut."""
    assert read(start=written).start_us == MARCH_US + us


def test_first_and_last_instant() -> None:
    """The years 1 to 9999 are whole, to the last microsecond."""
    question = read(start="0001-01-01T00:00:00Z", end="9999-12-31T23:59:59.999999Z")
    assert (question.start_us, question.end_us) == (-62_135_596_800_000_000, 253_402_300_799_999_999)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "2026-03-01",
        "2026-03-01T00Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T23:59:60Z",
        "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-03-01T00:00:00+0100",
        "2026-03-01T00:00:00+24:00",
        "2026-03-01T00:00:00.Z",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "٢٠٢٦-03-01T00:00:00Z",
        "2026-03-01T00:00:00Z\n",
        "2026-03-01T00:00:00Z\0",
        "1772323200",
        1772323200,
        1e300,
        True,
        None,
        ["2026-03-01T00:00:00Z"],
    ],
)
def test_no_instants(written: object) -> None:
    """Text that is no RFC 3339 date-time of the years 1 to 9999 is refused at its field."""
    assert refused_at(start=written) == ("body", "start")
    if written is not None:
        assert refused_at(end=written) == ("body", "end")


def test_window_edges() -> None:
    """A window may be empty; one microsecond less and it ends before it starts, also where its end is now."""
    assert read(end="2026-03-01T00:00:00Z").end_us == MARCH_US
    assert refused_at(end="2026-02-28T23:59:59.999999Z") == ("body", "end")
    assert read(start="2026-03-01T01:00:00Z").start_us == NOW_US
    assert refused_at(start="2026-03-01T01:00:00.000001Z") == ("body", "end")


def test_granularity() -> None:
    """A whole number of seconds from 1 on, however JSON writes it; no text, no truth value."""
    assert read(granularity=1).granularity_s == 1
    assert read(granularity=60.0).granularity_s == 60
    assert read(granularity=None).granularity_s is None
    assert read(granularity=10**10).granularity_s == 10**10
    refused: list[object] = [0, -1, 1.5, True, "60", 10**10 + 1, 10**30, 1e300, []]
    for wrong in refused:
        assert refused_at(granularity=wrong) == ("body", "granularity")


def test_metric_keys() -> None:
    """Aggregations come first, then percentiles without needless decimals and never in exponents."""
    metric = MetricQuestion("latency_ms", ("sum", "count_true"), (50.0, 99.9, 0.00001, 100.0, -0.0))
    assert metric.keys == (
        "sum_latency_ms",
        "count_true_latency_ms",
        "p50_latency_ms",
        "p99.9_latency_ms",
        "p0.00001_latency_ms",
        "p100_latency_ms",
        "p0_latency_ms",
    )


@pytest.mark.parametrize(
    ("specs", "keys"),
    [
        ([{}], ["sum_x"]),
        ([{"aggregations": []}], ["sum_x"]),
        ([{"aggregations": [], "percentiles": []}], ["sum_x"]),
        ([{"aggregations": [], "percentiles": [5]}], ["p5_x"]),
        ([{"percentiles": [5]}], ["sum_x", "p5_x"]),
        ([{"aggregations": ["min", "min"], "percentiles": [5, 5.0]}], ["min_x", "p5_x"]),
        ([{"aggregations": ["max"], "percentiles": [9]}, {"percentiles": [9, 1]}], ["max_x", "sum_x", "p9_x", "p1_x"]),
    ],
)
def test_keys_asked(specs: list[dict[str, Any]], keys: list[str]) -> None:
    """A metric without either list is asked for its sum; one asked twice has the keys of both, each once."""
    question = read(call_metrics=[{"metric": "call_count"} | spec for spec in specs])
    assert [key.replace("call_count", "x") for key in question.call_metrics[0].keys] == keys
    assert len(question.call_metrics) == 1


@pytest.mark.parametrize("wrong", [-0.1, 100.1, True, "50", None, [50]])
def test_percentiles_refused(wrong: object) -> None:
    """A percentile is a number from 0 to 100; the problem points at the one that is not."""
    spec = {"metric": "latency_ms", "percentiles": [0, 100, wrong]}
    assert refused_at(usage_metrics=[{"metric": "input_cost"}, spec | {"metric": "input_cost"}])[:5] == (
        *("body", "usage_metrics", 1, "percentiles", 2),
    )


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_percentiles_finite(written: str) -> None:
    """A percentile must be a finite number, though some parsers read others."""
    spec = f'[{{"metric":"latency_ms","percentiles":[{written}]}}]'
    body = json.dumps(SMALLEST)[:-1] + f', "call_metrics": {spec}}}'
    assert loc_of(body.encode())[0] == "body"


def test_most_metrics_and_keys() -> None:
    """A hundred specs per list and KEYS_MAX keys per row are the most; one more is refused at its list."""
    hundred = [{"metric": "call_count"}] * 100
    assert read(call_metrics=hundred, usage_metrics=[{"metric": "input_cost"}] * 100)
    assert refused_at(call_metrics=[*hundred, hundred[0]]) == ("body", "call_metrics")
    most = {"metric": "latency_ms", "aggregations": [], "percentiles": [n / 100 for n in range(KEYS_MAX)]}
    assert len(read(call_metrics=[most]).call_metrics[0].keys) == KEYS_MAX
    assert refused_at(call_metrics=[most, {"metric": "call_count"}]) == ("body", "call_metrics")


def test_filter_read() -> None:
    """Lists become tuples; an empty list, null and false restrict nothing."""
    asked = {"op_names": ["a:*", "b"], "call_ids": [], "trace_ids": None, "trace_roots_only": True, "wb_user_ids": [""]}
    assert read(filter=asked).filter == CallFilter(
        op_names=("a:*", "b"), trace_roots_only=True, wb_user_ids=("",), call_ids=None, trace_ids=None
    )
    for nothing in (None, {}, {"trace_roots_only": None}, {"trace_roots_only": False}):
        assert read(filter=nothing).filter == CallFilter()


def test_a_bare_run_id_means_a_run_of_the_project_too() -> None:
    """SDKs write entity, project and run; people paste the run's name alone, which may be the whole id too."""
    found = read(project_id="acme/agents", filter={"wb_run_ids": ["run-1", "other/project/run-2", ""]}).filter
    assert found.wb_run_ids == ("run-1", "acme/agents/run-1", "other/project/run-2", "", "acme/agents/")


def test_every_filter_list_has_its_limit() -> None:
    """Each of the ten lists takes a thousand values and refuses one more at itself."""
    lists = set(CallFilter.__dataclass_fields__) - {"trace_roots_only"}
    assert len(lists) == 10
    for name in lists:
        assert len(getattr(read(filter={name: ["x/y"] * 1000}).filter, name)) == 1000
        assert refused_at(filter={name: ["x"] * 1001}) == ("body", "filter", name)


@pytest.mark.parametrize(
    ("wrong", "loc"),
    [
        ({"op_names": ["a", 7]}, ("op_names", 1)),
        ({"op_names": [None]}, ("op_names", 0)),
        ({"op_names": {"a": 1}}, ("op_names",)),
        ({"trace_roots_only": 1}, ("trace_roots_only",)),
        ({"trace_roots_only": "true"}, ("trace_roots_only",)),
        ({"wb_user_id": []}, ("wb_user_id",)),
        ([], ()),
    ],
)
def test_filter_refused(wrong: object, loc: tuple[str | int, ...]) -> None:
    """Numbers are not strings, 1 is not true, and what is not a field is refused."""
    assert refused_at(filter=wrong) == ("body", "filter", *loc)


@pytest.mark.parametrize(
    "name", ["", "utc ", "Mars/Olympus", "../UTC", "/etc/passwd", "America", "a" * 9999, "\0", "é"]
)
def test_timezones_refused(name: str) -> None:
    """Only names of the time zone database are zones; paths and the like are refused like any other text."""
    assert refused_at(timezone=name) == ("body", "timezone")


def test_strings_are_strings() -> None:
    """A number is not a project, and any text is."""
    assert refused_at(project_id=7) == ("body", "project_id")
    assert read(project_id="a\0b").project_id == "a\0b"
    assert read(project_id="").project_id == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{}}",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"project_id":"\xff"}',
        b'{"project_id":"\\ud800","start":"2026-03-01T00:00:00Z"}',
        b'{"project_id":NaN,"start":"2026-03-01T00:00:00Z"}',
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"granularity":' + b"9" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_malformed_bodies(body: bytes) -> None:
    """A body that is no JSON object, too deep or no Unicode is refused like any other mistake."""
    assert loc_of(body)[0] == "body"


def test_problems_are_counted() -> None:
    """A body with very many mistakes is told the first of them."""
    body = json.dumps(SMALLEST | {f"surprise{n}": n for n in range(5_000)}).encode()
    with pytest.raises(Refusal) as refused:
        read_stats_question(body, NOW_US)
    assert len(refused.value.problems) == PROBLEMS_MAX
    assert refused_at(filter={"call_ids": [7] * 100_000}) == ("body", "filter", "call_ids", 0)
