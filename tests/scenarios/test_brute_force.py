"""The brute-force model answers the golden cases exactly, and the comparison sees every difference."""

import base64
import json
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

import pytest

from tests.brute_force import Model, PriceList, fold, instants
from tests.brute_force.buckets import buckets_of
from tests.brute_force.usage import own_usage
from tests.support.answers import differences
from tests.support.paths import CASES

NOW = datetime.fromisoformat("2026-11-20T00:00:00Z")
DATASETS = sorted(path.name.removesuffix(".cases.json") for path in CASES.glob("*.cases.json"))


@cache
def read_dataset(name: str) -> dict[str, Any]:
    """The cases of a dataset with what goes with them: prices, now, how many calls."""
    dataset: dict[str, Any] = json.loads((CASES / f"{name}.cases.json").read_text())
    return dataset


@cache
def fold_dataset(name: str) -> Model:
    """The model of all events of a dataset in the order of its file."""
    dataset = read_dataset(name)
    with (CASES / f"{name}.events.jsonl").open() as lines:
        messages = [json.loads(line)["value"] for line in lines]
    prices = PriceList.from_file(CASES / dataset["prices"])
    return fold(messages, prices, datetime.fromisoformat(dataset["now"]))


def each_case() -> Iterator[Any]:
    """All cases with a request that is JSON; how to refuse anything else is the server's matter."""
    for name in DATASETS:
        for number, case in enumerate(read_dataset(name)["cases"]):
            if "request" in case:
                yield pytest.param(name, case, id=f"{name}-{number}-{case['name'][:60]}")


@pytest.mark.parametrize("name", DATASETS)
def test_every_message_of_a_dataset_counts(name: str) -> None:
    """No event of a dataset is invalid, and as many calls start as the dataset says."""
    model = fold_dataset(name)
    assert model.dead_letters == []
    assert model.started_calls == read_dataset(name)["calls"]


@pytest.mark.parametrize(("name", "case"), list(each_case()))
def test_golden_case(name: str, case: dict[str, Any]) -> None:
    """The model's answer, its refusals and its ranges of percentiles are those of the case."""
    now = datetime.fromisoformat(read_dataset(name)["now"])
    answer = fold_dataset(name).case(case["path"], case["request"], now)
    body = answer.get("expected", {"detail": [{"loc": answer.get("loc")}]})
    assert differences(case | {"ranges": {}, "also_right": []}, answer["status"], body) == []
    assert answer.get("ranges", {}) == case.get("ranges", {})


def invalid_events() -> Iterator[Any]:
    """Message values that are no events, with the reason and, where given, the field."""
    for number, line in enumerate((CASES / "invalid_events.jsonl").read_text().splitlines(), 1):
        sample = json.loads(line)
        value = base64.b64decode(sample["value_base64"]) if "value_base64" in sample else sample["value"]
        yield pytest.param(value, sample["reason"], sample.get("field"), id=f"line-{number}-{sample['reason']}")


@pytest.mark.parametrize(("value", "reason", "field"), list(invalid_events()))
def test_invalid_event(value: bytes | str, reason: str, field: str | None) -> None:
    """An invalid event is refused for the right reason, names its field and tells of no call."""
    model = fold([value], PriceList([]), NOW)
    (invalid,) = model.dead_letters
    assert invalid.reason == reason
    assert field is None or invalid.field == field
    assert not model.calls.by_identity


def test_first_start_and_first_end_win() -> None:
    """Later starts and ends of a call change nothing, in whichever order its halves come."""
    call = {"project_id": "p", "id": "c", "summary": {}}
    early, late = "2026-06-10T10:00:00Z", "2026-06-10T10:00:09Z"
    messages = [
        {"end": call | {"ended_at": late}},
        {"end": call | {"ended_at": early}},
        {"start": call | {"op_name": "op", "started_at": early}},
        {"complete": call | {"op_name": "op", "started_at": late, "ended_at": early}},
    ]
    model = fold(messages, PriceList([]), NOW)
    request = {"project_id": "p", "start": early, "end": late, "call_metrics": [{"metric": "latency_ms"}]}
    (row,) = model.stats(request, NOW)["call_buckets"]
    assert (row["sum_latency_ms"], row["count"]) == (9000, 1)


def test_window_ends_before_its_end() -> None:
    """A call that starts at the very end of the window is outside, one at its start inside."""
    start = {"project_id": "p", "id": "c", "op_name": "op", "started_at": "2026-06-10T10:00:00.000001Z"}
    model = fold([{"start": start}], PriceList([]), NOW)
    for first, last, count in (("00.000000", "00.000001", 0), ("00.000001", "00.000002", 1)):
        window = {"start": f"2026-06-10T10:00:{first}Z", "end": f"2026-06-10T10:00:{last}Z"}
        request = window | {"project_id": "p", "call_metrics": [{"metric": "call_count"}]}
        assert [row["count"] for row in model.stats(request, NOW)["call_buckets"]] == [count]


@pytest.mark.parametrize(("stated", "total"), [(99, 99), (0, 12), (None, 12)])
def test_total_tokens(stated: int | None, total: int) -> None:
    """A stated total counts as it is; 0 or none is the sum of input and output."""
    usage = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": stated}
    assert own_usage({"usage": {"m": usage}})["m"].total_tokens == total


@pytest.mark.parametrize(
    ("granularity_s", "starts"),
    [
        (3600, ["01T23:00:00-04:00", "02T00:00:00-04:00", "02T00:00:00-05:00", "02T01:00:00-05:00"]),
        (7200, ["01T22:00:00-04:00", "02T00:00:00-04:00"]),
        (86400, ["01T00:00:00-04:00", "02T00:00:00-04:00"]),
    ],
)
def test_midnight_that_comes_twice(granularity_s: int, starts: list[str]) -> None:
    """Havana's clock goes from 01:00 back to 00:00: the hour is two buckets, the day one of 25 hours."""
    start_us, end_us = (instants.from_text(f"2025-11-{text}:00Z") for text in ("02T03:30", "02T06:30"))
    buckets = buckets_of(start_us, end_us, granularity_s, "America/Havana")
    assert [instants.to_text(b.start_us, b.offset_s).removeprefix("2025-11-") for b in buckets] == starts
