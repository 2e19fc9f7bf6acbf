"""`callmeter produce` tells all that is wrong with a line, and with --check what is accepted but surely not meant."""

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from callmeter.__main__ import cli
from callmeter.event_mistakes import Doubts, mistakes
from tests.support.paths import CASES, DOCS, README, ROOT

SENT_EXAMPLES = re.compile(r"^ +(sed .* examples/events\.jsonl) \| callmeter produce -$", re.MULTILINE)
NOW_US = 1_790_000_000_000_000
COMPLETE: dict[str, Any] = {
    "project_id": "acme/agents",
    "id": "c1",
    "op_name": "op",
    "started_at": "2026-06-10T10:00:00Z",
    "ended_at": "2026-06-10T10:00:01Z",
    "summary": {"usage": {"gpt-4o": {"input_tokens": 10, "output_tokens": 5}}},
}


def message(**fields: Any) -> bytes:
    """A complete with other fields; `None` leaves one out."""
    return json.dumps({"complete": {k: v for k, v in (COMPLETE | fields).items() if v is not None}}).encode()


def test_all_that_is_wrong_at_once() -> None:
    """Six mistakes of one event are six sentences, each naming its field."""
    wrong = message(
        id="x" * 257, op_name=None, started_at="soon", exception=1, summary={"usage": {"m": {"input_tokens": -1}}}
    )
    found = mistakes(wrong, NOW_US)
    assert [sentence.split()[0] for sentence in found] == ["id", "op_name", "started_at", "exception", "input_tokens"]
    assert mistakes(message(), NOW_US) == []


def test_mistakes_in_a_batch() -> None:
    """Each event of a batch is told by its place."""
    events = [{"complete": COMPLETE}, {"complete": COMPLETE | {"id": 1, "op_name": 2}}, {"start": {}}]
    found = mistakes(json.dumps({"batch": events}).encode(), NOW_US)
    assert {sentence.split(":")[0] for sentence in found} == {"event 1", "event 2"}
    assert {"event 1: id must be text", "event 1: op_name must be text"} <= set(found)


@pytest.mark.parametrize("line", (CASES / "invalid_events.jsonl").read_text().splitlines())
def test_every_invalid_event_is_told(line: str) -> None:
    """Whatever is a dead letter has at least one sentence here."""
    case = json.loads(line)
    if "value" in case:
        assert mistakes(case["value"].encode(), 1_781_136_000_000_000)


DOUBTS: dict[str, dict[str, Any]] = {
    "model": {"model": "gpt-4o"},
    "summary.prompt_tokens": {"summary": {"prompt_tokens": 3}},
    "usage": {"usage": {"gpt-4o": {"input_tokens": 3}}},
    "error": {"error": "boom"},
    "status": {"status": "failed"},
    "tokensUsed": {"summary": {"usage": {"m": {"tokensUsed": 3, "input_tokens": 1}}}},
    "all 0": {"summary": {"usage": {"m": {"input_tokens": 0, "output_tokens": 0}}}},
    "ends before": {"ended_at": "2026-06-10T09:00:00Z"},
}


@pytest.mark.parametrize("doubt", DOUBTS)
def test_doubts(doubt: str) -> None:
    """A line that is accepted and surely not meant has a sentence that names the doubt; a right one has none."""
    assert any(doubt in sentence for sentence in Doubts().about(message(**DOUBTS[doubt]), 1, NOW_US))
    right = message(exception="boom", error="boom", summary=COMPLETE["summary"] | {"status_counts": {"success": 1}})
    assert Doubts().about(right, 1, NOW_US) == []


def check(path: Path, now: str = "2026-06-11T00:00:00Z") -> Result:
    """`callmeter produce --check` at that time; nothing listens where it would send."""
    environment = {"CALLMETER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "CALLMETER_NOW": now}
    return CliRunner().invoke(cli, ["produce", str(path), "--check"], env=environment)


def test_the_command(tmp_path: Path) -> None:
    """Lines are told by number, all of them; an end without a start is one; nothing is sent."""
    path = tmp_path / "events.jsonl"
    end = {"end": {"project_id": "a", "id": "alone", "ended_at": "2026-06-10T10:00:00Z", "summary": {}}}
    path.write_bytes(
        b"\n".join([message(), b"", message(model="m"), message(op_name=None, id=7), json.dumps(end).encode()])
    )
    told = check(path)
    assert told.exit_code == 1
    assert "line 3: warning: `model` is ignored" in told.stderr
    assert "line 4: " in told.stderr
    assert "line 5: warning: an end without a start" in told.stderr
    path.write_bytes(message())
    assert check(path).stdout == "1 events are right; 0 lines with warnings; nothing was sent\n"


def test_events_that_come_too_late(tmp_path: Path) -> None:
    """Events older than call records are kept are right, and told all the same: workers refuse them."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(message() + b"\n" + message(id="c2", started_at="2026-06-10T10:00:00.000001Z"))
    for now, told in (("2026-07-10T10:00:00Z", 0), ("2026-07-10T10:00:01Z", 2)):
        checked = check(path, now)
        assert (checked.exit_code, checked.stdout) == (
            0,
            "2 events are right; 0 lines with warnings; nothing was sent\n",
        )
        assert checked.stderr.startswith(f"warning: {told} events are older than") if told else checked.stderr == ""


def test_the_examples_as_the_docs_send_them(tmp_path: Path) -> None:
    """README and docs/producers.md make the examples of today before they send them, so that they are not too late."""
    (command,) = {
        found[1] for page in (README, DOCS / "producers.md") for found in SENT_EXAMPLES.finditer(page.read_text())
    }
    path = tmp_path / "events.jsonl"
    path.write_bytes(subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, capture_output=True).stdout)
    now = datetime.now(UTC)
    assert path.read_text().count(f'"{now:%Y-%m-%d}T00:00:0') == (ROOT / "examples" / "events.jsonl").read_text().count(
        '_at"'
    )
    told = check(path, now.isoformat())
    assert (told.exit_code, told.stderr) == (0, "")


def test_the_examples_are_right() -> None:
    """examples/events.jsonl has nothing wrong and nothing doubtful."""
    told = check(ROOT / "examples" / "events.jsonl")
    assert (told.exit_code, told.stderr) == (0, "")
    assert "; 0 lines with warnings" in told.stdout
