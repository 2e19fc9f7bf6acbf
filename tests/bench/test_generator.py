"""The generator writes as many valid agent traces as it is told, the same for the same settings."""

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner

from bench.disorder import DISORDER_LINES
from bench.generator import GeneratorSettings, generate, main
from tests.brute_force import Model, PriceList, fold

START = datetime(2026, 6, 1, tzinfo=UTC)
SETTINGS = GeneratorSettings(calls=3000, start=START, days=2, projects=3)


def values_of(lines: list[bytes]) -> list[dict[str, Any]]:
    """The message values."""
    return [json.loads(line)["value"] for line in lines]


def model_of(lines: list[bytes]) -> Model:
    """Returns what the lines amount to by brute force."""
    return fold(values_of(lines), PriceList([]), START + timedelta(days=3))


def kind_of(line: bytes) -> tuple[str, str]:
    """The shape of the event (start or end) and its call."""
    value = json.loads(line)["value"]
    return value["mode"], value["req"][value["mode"]]["id"]


@pytest.mark.parametrize("calls", [0, 1, 7, 3000])
def test_number_of_calls(calls: int) -> None:
    """Exactly so many calls, each with a start and an end, all valid, within the time."""
    model = model_of(list(generate(replace(SETTINGS, calls=calls))))
    assert model.dead_letters == []
    assert len(model.calls.by_identity) == model.started_calls == calls
    for call in model.calls.by_identity.values():
        assert call.start is not None
        assert call.end is not None
        assert call.end.ended_at_us > call.start.started_at_us >= START.timestamp() * 1_000_000


def test_shape_of_traces() -> None:
    """Traces of 5 to 20 calls under one root; about half of the calls are LLM calls, and only these use tokens.

    The others repeat what is below them, as SDKs do.
    """
    calls = model_of(list(generate(SETTINGS))).calls.by_identity.values()
    traces = Counter(call.place[1] for call in calls)
    # The last trace has what is left.
    assert min(sorted(traces.values())[1:]) >= 5
    assert max(traces.values()) <= 20
    roots = [call for call in calls if call.start is not None and call.start.parent_id is None]
    assert len(roots) == len(traces)
    llm = [call for call in calls if call.start is not None and "/op/llm." in call.start.op_name]
    assert 0.45 < len(llm) / len(calls) < 0.55
    stating = [call for call in calls if call.end is not None and call.end.usage and not call.end.may_roll_up]
    assert {call.call_id for call in stating} <= {call.call_id for call in llm}
    assert 0 < sum(call.end is not None and call.end.failed for call in calls) / len(calls) < 0.05


def test_parents_state_the_sum_of_their_children() -> None:
    """The usage that the end of a root states is what its subtree used."""
    lines = list(generate(replace(SETTINGS, calls=300, projects=1)))
    model = model_of(lines)
    ends = {value["req"]["end"]["id"]: value["req"]["end"] for value in values_of(lines) if value["mode"] == "end"}
    roots = [c for c in model.calls.by_identity.values() if c.start is not None and c.start.parent_id is None]
    for root in roots:
        used = model.usage({"project_id": "acme/project-0", "call_ids": [root.call_id]})["call_usage"][root.call_id]
        stated = ends[root.call_id]["summary"]["usage"]
        assert {m: u["requests"] for m, u in stated.items()} == {m: u["requests"] for m, u in used.items()}
        for name, usage in stated.items():
            assert usage.get("prompt_tokens", usage.get("input_tokens")) == used[name]["prompt_tokens"]


def test_same_settings_same_bytes() -> None:
    """Equal settings give equal bytes, another seed others."""
    disordered = replace(SETTINGS, duplicates_percent=5, disorder=True)
    assert list(generate(disordered)) == list(generate(disordered))
    assert list(generate(SETTINGS)) != list(generate(replace(SETTINGS, seed=1)))


@pytest.mark.parametrize(
    ("settings", "version"), [(SETTINGS, 7), (replace(SETTINGS, ids="random"), 4)], ids=["ordered", "random"]
)
def test_ids(settings: GeneratorSettings, version: int) -> None:
    """Ids begin with the time, as UUIDs of version 7 do, or are random ones; all differ."""
    requests = [value["req"] for value in values_of(list(generate(settings)))]
    starts = [request["start"] for request in requests if "start" in request]
    called = [UUID(start["id"]) for start in starts]
    assert {one.version for one in called} == {UUID(start["trace_id"]).version for start in starts} == {version}
    assert len(set(called)) == settings.calls


@pytest.mark.parametrize("message_bytes", [1500, 1_000_000])
def test_message_bytes(message_bytes: int) -> None:
    """Every value is filled up to the wanted length."""
    for line in generate(replace(SETTINGS, calls=20, message_bytes=message_bytes)):
        value = line.split(b'"value":', 1)[1].removesuffix(b"}\n")
        assert len(value) == message_bytes


def test_duplicates() -> None:
    """Some of the lines come again, later; none is lost."""
    plain, repeated = list(generate(SETTINGS)), list(generate(replace(SETTINGS, duplicates_percent=10)))
    assert list(dict.fromkeys(repeated)) == plain
    assert 0.08 < len(repeated) / len(plain) - 1 < 0.12
    assert set(Counter(generate(replace(SETTINGS, duplicates_percent=100))).values()) == {2}


def test_disorder() -> None:
    """The lines in disorder are those in order, with ends before starts."""
    many = replace(SETTINGS, calls=12_000)
    plain, disordered = list(generate(many)), list(generate(replace(many, disorder=True)))
    assert len(plain) > DISORDER_LINES
    assert sorted(disordered) == sorted(plain)
    place = {kind_of(line): number for number, line in enumerate(disordered)}
    early = sum(place["end", call] < place["start", call] for kind, call in place if kind == "start")
    assert early > 1000


def test_dimensions() -> None:
    """Projects, models, users and ops occur in the numbers asked for, and no others."""
    model = model_of(list(generate(replace(SETTINGS, models=7, ops=10, users=4))))
    calls = model.calls.by_identity.values()
    assert {call.project_id for call in calls} == {f"acme/project-{number}" for number in range(3)}
    assert len({name for call in calls if call.end is not None for name in call.end.usage}) == 7
    assert len({call.start.wb_user_id for call in calls if call.start is not None}) == 4
    ops = {call.start.op_name.split("/op/")[1] for call in calls if call.start is not None}
    assert 8 <= len(ops) <= 10


@pytest.mark.parametrize("key", ["project", "trace"])
def test_key(key: Any) -> None:
    """A key keeps the events of a call together: it names the project, or project and trace."""
    messages = [json.loads(line) for line in generate(replace(SETTINGS, calls=100, key=key))]
    starts = [message for message in messages if message["value"]["mode"] == "start"]
    for message in starts:
        start = message["value"]["req"]["start"]
        trace = f"/{start['trace_id']}" if key == "trace" else ""
        assert message["key"] == start["project_id"] + trace


@pytest.mark.parametrize(
    "wrong", [{"calls": -1}, {"ops": 3}, {"projects": 0}, {"days": 0}, {"duplicates_percent": 101}]
)
def test_settings_that_make_no_sense(wrong: dict[str, Any]) -> None:
    """Settings that make no sense are refused when made."""
    with pytest.raises(ValueError, match=r"must be|at least"):
        replace(SETTINGS, **wrong)


def test_command_line() -> None:
    """The command writes what `generate` makes of the same settings."""
    options = ["--calls", "50", "--start", "2026-06-01T00:00:00", "--days", "2", "--projects", "3", "--disorder"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0
    assert result.stdout_bytes == b"".join(generate(replace(SETTINGS, calls=50, disorder=True)))


def test_command_line_without_start() -> None:
    """The traces are those of the days before now where no start is given."""
    result = CliRunner().invoke(main, ["--calls", "20", "--days", "3"])
    first = json.loads(result.stdout.splitlines()[0])["value"]["req"]["start"]["started_at"]
    age = datetime.now(UTC) - datetime.fromisoformat(first)
    assert timedelta(days=0) < age < timedelta(days=3)


def test_command_line_explains_itself() -> None:
    """A wrong start is refused with a message, not with a traceback."""
    result = CliRunner().invoke(main, ["--calls", "1", "--start", "yesterday"])
    assert result.exit_code == 2
    assert "yesterday" in result.output
