"""What the demo says on one line: sums over models and minutes, and what has no price."""

from datetime import UTC, datetime
from typing import Any

from callmeter.local.overview import curl, overview, pasted_question, plain_line, question

NOW = datetime(2026, 6, 10, 12, 30, 45, tzinfo=UTC)
MINUTES = ("2026-06-10T12:29:00+00:00", "2026-06-10T12:30:00+00:00")


def usage(minute: int, model: str, tokens: int, cost: float | None) -> dict[str, Any]:
    return {"timestamp": MINUTES[minute], "model": model, "sum_total_tokens": tokens, "sum_total_cost": cost}


ANSWER: dict[str, Any] = {
    "start": MINUTES[0],
    "call_buckets": [
        {"timestamp": MINUTES[0], "sum_call_count": 200, "sum_error_count": 50, "p95_latency_ms": 1234.5},
        {"timestamp": MINUTES[1], "sum_call_count": 100, "sum_error_count": 1, "p95_latency_ms": None},
    ],
    "usage_buckets": [
        usage(0, "gpt-4o", 1000, 0.5),
        usage(0, "nobodys", 10, None),
        usage(1, "gpt-4o", 2000, 0.25),
        usage(1, "nobodys", 20, None),
    ],
}


def test_models_and_minutes_are_summed() -> None:
    """Tokens of all models count; a model without a price adds no cost."""
    shown = overview(ANSWER, 1.5)
    assert [minute[1:] for minute in shown.minutes] == [(200, 50, 1010, 0.5, 1234.5), (100, 1, 2020, 0.25, None)]
    assert shown.total[1:] == (300, 51, 3030, 0.75, None)


def test_without_any_price() -> None:
    """The cost is said to be unknown, not 0, where nothing has a price."""
    answer = ANSWER | {"usage_buckets": [usage(0, "nobodys", 10, None)]}
    shown = overview(answer, None)
    assert (shown.minutes[0].cost, shown.total.cost) == (None, None)
    assert "no price" in plain_line(shown, 0)


def test_the_question_asks_for_whole_minutes() -> None:
    """The question begins with the first of the last minutes; the current one is the last of them."""
    assert question("p", NOW, minutes=2)["start"] == MINUTES[0]
    assert question("p", NOW, minutes=1)["start"] == MINUTES[1]
    assert curl("http://h:1", question("p", NOW)).startswith("curl -s http://h:1/calls/stats -H ")
    assert "'" not in curl("", question("acme/agents", NOW)).split(" -d ")[1][1:-1]


def test_the_question_to_paste_has_a_short_answer() -> None:
    """The buckets of the question are so long that two of them hold all of its window."""
    pasted = pasted_question("acme/agents", NOW)
    since_s = (NOW - datetime.fromisoformat(pasted["start"])).total_seconds()
    assert since_s <= pasted["granularity"]
    assert pasted["start"] == question("acme/agents", NOW)["start"]


def test_the_plain_line() -> None:
    """Off a terminal the same is said on one line, with the latency of the last full minute."""
    assert plain_line(overview(ANSWER, None), None) == (
        "last 2 min: 300 calls, 51 (17.0%) errors, 3030 tokens, $0.75, p95 latency 1.23 s; lag unknown"
    )
