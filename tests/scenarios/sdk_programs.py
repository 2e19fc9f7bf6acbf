"""Programs that use an SDK as it is, and the check that what they did is counted."""

from typing import Any

from tests.pipeline.patience import wait_until
from tests.support.paths import ROOT

PROJECT = "ent/proj"
SDKS = ROOT / "tests" / "sdks"
COUNTED_S_MAX = 60.0


def check_program(api: Any, did: dict[str, int]) -> None:
    """Checks that what the program did, `{"calls", "errors", "leaves"}`, is what is counted; its leaves used 15 tokens
    each."""
    question = {
        "project_id": PROJECT,
        "start": "2026-01-01T00:00:00Z",
        "granularity": 86_400 * 3_000,
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}],
        "usage_metrics": [{"metric": "total_tokens"}],
    }

    def counted() -> list[int]:
        answer = api.ask("/calls/stats", question).json()
        sums = [sum(row[key] for row in answer["call_buckets"]) for key in ("sum_call_count", "sum_error_count")]
        return [*sums, sum(row["sum_total_tokens"] for row in answer["usage_buckets"])]

    # Calls are there with their starts, what they used with their ends, which are other messages.
    expected = [did["calls"], did["errors"], 15 * did["leaves"]]
    assert wait_until(lambda: counted() == expected, COUNTED_S_MAX), (counted(), expected)
