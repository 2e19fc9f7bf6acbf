"""What a look at old events finds, and where a file is gone on with."""

import json
from pathlib import Path

import pytest

from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S, DAY_US
from aggregator.timestamps import format_utc
from callmeter.backfill import Findings, KeptByWorkers, Line, PlaceFile, Refused
from ingest.kafka.message_key import MessageKeys

NOW_US = 1_800_000_000_000_000
KEPT = Retention(30 * DAY_S, 30 * DAY_S, 90 * DAY_S, 400 * DAY_S)


def line(number: int, days_ago: float) -> Line:
    """A complete call of so many days ago."""
    at = format_utc(NOW_US - round(days_ago * DAY_US))
    call = {"project_id": "p", "id": str(number), "op_name": "o", "started_at": at, "ended_at": at, "summary": {}}
    return Line(number, 0, json.dumps({"complete": call}).encode())


def found(*days_ago: float, reach: KeptByWorkers = KeptByWorkers(KEPT)) -> Findings:  # noqa: B008  frozen
    """Returns what is found in calls of so many days ago."""
    findings = Findings(reach, lambda: NOW_US)
    for number, days in enumerate(days_ago, start=1):
        findings.look(line(number, days), MessageKeys("project"))
    return findings


def test_all_is_kept() -> None:
    """Nothing is told of calls that workers take."""
    findings = found(0, 29.9, 30)
    assert (findings.are_none, findings.events, list(findings.sentences())) == (True, 3, [])


def test_older_than_call_records() -> None:
    """How many, and the setting that reaches back to the oldest, with room to spare."""
    findings = found(1, 31, 200.5)
    [said] = findings.sentences()
    assert not findings.are_none
    assert said.startswith("2 events are older than call records are kept (30 days)")
    assert "CALLMETER_RETENTION__CALLS=202d" in said
    assert format_utc(NOW_US - round(200.5 * DAY_US)) in said
    longer = KeptByWorkers(Retention(202 * DAY_S, 30 * DAY_S, 90 * DAY_S, 400 * DAY_S))
    assert found(1, 31, 200.5, reach=longer).are_none


def test_older_than_all_rollups() -> None:
    """Hours are named too, also where call records would reach back that far."""
    assert ["RETENTION__CALLS=502d" in said for said in found(500).sentences()] == [True, False]
    longer = KeptByWorkers(Retention(600 * DAY_S, 30 * DAY_S, 90 * DAY_S, 400 * DAY_S))
    [said] = found(500, reach=longer).sentences()
    assert "CALLMETER_RETENTION__HOURS=502d" in said


def test_records_that_were_dropped() -> None:
    """No setting helps where records were dropped: they alone could tell whether calls were counted."""
    findings = found(10, 20, reach=KeptByWorkers(KEPT, NOW_US - 15 * DAY_US))
    [said] = findings.sentences()
    assert (findings.dropped, findings.too_late) == (1, 0)
    assert "1 events are from before" in said


def test_no_events() -> None:
    """Lines are named, with what is wrong."""
    findings = Findings(KeptByWorkers(KEPT), lambda: NOW_US)
    assert findings.look(Line(7, 0, b'{"start": {"project_id": "p", "id": "a"}}'), MessageKeys("project")) == []
    findings.look(Line(8, 0, b"nonsense"), MessageKeys("project"))
    first, second = findings.sentences()
    assert first.startswith("line 7: is not an event: ")
    assert "op_name" in first
    assert second.startswith("line 8: is not JSON")
    assert not findings.are_none


def test_the_place_of_a_file(tmp_path: Path) -> None:
    """A place in a file is found again as long as what is before it is the same, also when the file has grown."""
    source = tmp_path / "old.jsonl"
    source.write_bytes(b"one\ntwo\nthree\n")
    places = PlaceFile(source, None)
    assert places.read("calls") is None
    places.write("calls", 3, 8)
    with source.open("ab") as file:
        file.write(b"four\n")
    place = places.read("calls")
    assert place is not None
    assert (place.next_line, place.next_offset) == (3, 8)
    with pytest.raises(Refused, match="topic 'calls'"):
        places.read("other")
    source.write_bytes(b"one\nTWO\nthree\n")
    with pytest.raises(Refused, match="has changed"):
        places.read("calls")
    places.forget()
    assert places.read("calls") is None
    places.path.write_text("{}")
    with pytest.raises(Refused, match="does not say how far"):
        places.read("calls")
