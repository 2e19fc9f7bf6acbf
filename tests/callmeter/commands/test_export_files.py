"""The files of `callmeter export`: whole or not there, of bounded row groups, never a part that looks whole."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from pyarrow import parquet

from aggregator.reading import window_calls
from callmeter.parquet import facts
from callmeter.settings import Settings
from tests.pipeline.in_process import InProcess
from tests.support.exporting import DAY, KEPT_S, busiest, folded_small, little_at_once, run, settings, window


@pytest.fixture(autouse=True)
def _little_at_once() -> Iterator[None]:
    with little_at_once():
        yield


@pytest.fixture
def folded(redis_url: str) -> Iterator[tuple[InProcess, Settings]]:
    """A small dataset, sealed, with settings to export it."""
    with folded_small(redis_url) as found:
        yield found


def test_files(folded: tuple[InProcess, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each day and project, of sorted row groups of a bounded number of rows; cut to the window."""
    monkeypatch.setattr(window_calls, "MINUTES_AT_ONCE_MAX", 7)
    _, ours = folded
    project, day = busiest()
    said = json.loads(run(ours, tmp_path, *window(project, day - DAY, day + DAY), "--json", "--table", "facts").output)
    paths = [tmp_path / "facts" / f"day={at:%Y-%m-%d}" / "acme%2Fagents.parquet" for at in (day - DAY, day)]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == paths
    [told] = said
    assert (told["files"], told["bytes"]) == (2, sum(path.stat().st_size for path in paths))
    assert told["rows"] == sum(parquet.read_metadata(path).num_rows for path in paths)
    written = parquet.ParquetFile(paths[1])
    groups = [written.read_row_group(at).column("started_at").to_pylist() for at in range(written.num_row_groups)]
    assert len(groups) > 1
    assert all(len(group) <= 20 + 1_000 for group in groups)
    assert groups == [sorted(group) for group in groups]
    started = sorted(at for group in groups for at in group)
    cut = started[len(started) // 2]
    assert run(ours, tmp_path, *window(project, day, cut), "--table", "facts").exit_code == 0
    assert parquet.ParquetFile(paths[1]).metadata.num_rows == sum(at < cut for at in started)


def test_cut_off(folded: tuple[InProcess, Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is what it was before, and nothing is left of the one that was begun."""
    _, ours = folded
    project, day = busiest()
    assert run(ours, tmp_path, *window(project, day, day + DAY)).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    begun: list[int] = []
    facts_of = facts.facts_of

    def once(project_id: str, calls: Any) -> Any:
        if begun:
            raise KeyboardInterrupt
        begun.append(1)
        return facts_of(project_id, calls)

    monkeypatch.setattr(facts, "facts_of", once)
    assert run(ours, tmp_path, *window(project, day, day + DAY)).exit_code
    assert begun
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_refused(folded: tuple[InProcess, Settings], redis_url: str, tmp_path: Path) -> None:
    """A window that is not kept any more, an unknown project and no window at all get a sentence each, and no file."""
    _, ours = folded
    project, day = busiest()
    later = settings(redis_url, (day + DAY + timedelta(seconds=KEPT_S)).isoformat())
    reach = f"of {project} reach back to {(day + DAY):%Y-%m-%d}T00:00:00Z: export"
    for asked_of, arguments, sentence in (
        (ours, window("nobody", day, day + DAY), "no call of nobody is known"),
        (later, window(project, day, day + DAY), f"call records {reach} facts from there on"),
        (
            later,
            (*window(project, day, day + DAY), "--table", "rollups-5m"),
            f"rollups of 5m {reach} rollups-5m from there on",
        ),
    ):
        said = run(asked_of, tmp_path, *arguments)
        assert (said.exit_code, said.output) == (1, f"Error: {sentence}\n")
    assert "--start must be before --end" in run(ours, tmp_path, *window(project, day, day)).output
    assert not list(tmp_path.iterdir())


def test_what_goes_meanwhile(folded: tuple[InProcess, Settings], redis_url: str, tmp_path: Path) -> None:
    """Records that a worker drops while they are read are no shorter file: it is refused."""
    _, ours = folded
    project, day = busiest()
    with redis.Redis.from_url(redis_url) as client, pytest.MonkeyPatch.context() as patch:
        facts_of = facts.facts_of

        def dropping(project_id: str, calls: Any) -> Any:
            for key in client.keys("*:shard"):
                client.hset(key, "dropped_before_us", round((day + DAY).timestamp() * 1e6))
            return facts_of(project_id, calls)

        patch.setattr(facts, "facts_of", dropping)
        said = run(ours, tmp_path, *window(project, day, day + DAY))
    assert f"call records of {project} reach back to" in said.output
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_something_is_in_the_way(folded: tuple[InProcess, Settings], tmp_path: Path) -> None:
    """A directory that cannot be written is told as what it is, not as a Redis that does not answer."""
    _, ours = folded
    project, day = busiest()
    (tmp_path / "facts").write_text("a file")
    said = run(ours, tmp_path, *window(project, day, day + DAY))
    assert said.exit_code == 1
    path = tmp_path / "facts" / f"day={day:%Y-%m-%d}" / "acme%2Fagents.parquet"
    assert said.output.startswith(f"Error: {path} cannot be written: [Errno ")
