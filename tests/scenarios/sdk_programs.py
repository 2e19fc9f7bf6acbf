"""Programs that use an SDK as it is, and the check that what they did is counted."""

from typing import Any

from tests.pipeline.patience import wait_until
from tests.support.paths import ROOT

PROJECT = "ent/proj"
SDKS = ROOT / "tests" / "sdks"


def check_program(api: Any, did: dict[str, int]) -> None:
    """Checks that what the program did, `{"calls", "errors", "leaves"}`, is what is counted; its leaves used 15 tokens
    each."""
    question = {
        "project_id": PROJECT,
        "start": "2026-01-01T00:00:00Z",
        "granularity": 86_400 * 3_000,
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}],
    }

    def counted() -> list[int]:
        rows = api.ask("/calls/stats", question).json()["call_buckets"]
        return [sum(row[key] for row in rows) for key in ("sum_call_count", "sum_error_count")]

    wait_until(lambda: counted() == [did["calls"], did["errors"]], 30)
    assert counted() == [did["calls"], did["errors"]]
    usage = {**question, "call_metrics": [], "usage_metrics": [{"metric": "total_tokens"}]}
    rows = api.ask("/calls/stats", usage).json()["usage_buckets"]
    assert sum(row["sum_total_tokens"] for row in rows) == 15 * did["leaves"]
