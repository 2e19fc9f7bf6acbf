"""`callmeter plan`: what is asked is what is reckoned, mistakes are told in a sentence, the documentation shows it."""

import json
import os
from typing import Any

import pytest
from click.testing import CliRunner, Result

from aggregator.time_units import DAY_S
from callmeter.__main__ import cli
from callmeter.commands import plan as plan_command
from callmeter.planning.figures import figures_of
from tests.support.capacity import SECTIONS, round_figures
from tests.support.paths import DOCS

EXAMPLE = "    callmeter plan "


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures that never change."""
    monkeypatch.setattr(plan_command, "read_figures", round_figures)


def run(*arguments: str, **variables: str) -> Result:
    """Run the command with these settings and no others."""
    return CliRunner().invoke(cli, ["plan", *arguments], env=dict.fromkeys(os.environ) | variables)


def answer_of(*arguments: str, **variables: str) -> Any:
    """Returns what `--json` prints."""
    done = run("--json", *arguments, **variables)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


@pytest.mark.usefixtures("made_up")
def test_everything_asked_is_reckoned_with() -> None:
    """Each option stands in the load or the deployment; `1e3` and sizes are read as people write them."""
    answer = answer_of(
        *("--calls-per-second", "1e3", "--projects", "40", "--busiest-percent", "10", "--models", "7", "--ops", "8"),
        *("--users", "9", "--runs", "3", "--calls-per-trace", "5", "--usage-percent", "25", "--message-bytes", "2kB"),
        *("--busy-percent", "60", "--master-memory", "64GiB", "--filled-percent", "50", "--replicas", "2"),
        *("--usd-ram", "4", "--usd-disk", "0.1", "--usd-objects", "0"),
        CALLMETER_LIMITS__VIEWS="500",
    )
    assert answer["load"] == {
        "calls_per_s": 1_000,
        "projects": 40,
        "mix": {
            "models": 7,
            "ops": 8,
            "users": 9,
            "runs": 3,
            "calls_per_trace": 5,
            "usage_share": 0.25,
            "views_max": 500,
        },
        "message_bytes": 2_000,
        "retention": {
            "calls_s": 2_592_000,
            "minutes_s": 2_592_000,
            "five_minutes_s": 7_776_000,
            "hours_s": 34_560_000,
        },
        "busiest_share": 0.1,
        "seal_after_s": 3_600,
        "moves": False,
    }
    assert answer["deployment"] == {
        "busy": 0.6,
        "master_bytes": 64 * 2**30,
        "filled": 0.5,
        "replicas": 2,
        "prices": {"ram_usd": 4.0, "disk_usd": 0.1, "objects_usd": 0.0},
    }
    assert answer["plan"]["events_per_s"] == 2_000


@pytest.mark.usefixtures("made_up")
def test_json_holds_the_plan() -> None:
    """The JSON holds what is needed, by what it was measured, and what is assumed."""
    answer = answer_of("--calls-per-second", "100", "--retention", "1d", "--master-memory", "1TB")
    assert (answer["plan"]["partitions"], answer["plan"]["workers"], answer["plan"]["masters"]) == (1, 1, 1)
    memory = answer["plan"]["memory"]
    assert memory["records_bytes"] == pytest.approx(100 * (3_600 + 0.1 * 82_800) * 200)  # all but an hour is sealed
    of_levels = [memory["levels"][letter] for letter in "mfh"]
    assert all(set(sizes) == {"total_bytes", "sketch_bytes"} for sizes in of_levels)
    parts = [memory[f"{part}_bytes"] for part in ("records", "indexes", "directories", "busy_minutes")]
    assert memory["total_bytes"] == pytest.approx(sum(parts) + sum(sizes["total_bytes"] for sizes in of_levels))
    assert answer["measured"][1] == {
        "benchmark": "scaling",
        "measured": "2026-01-03",
        "machine": "2 cores",
        "short": True,
    }
    assert answer["assumed"]


@pytest.mark.parametrize(
    ("written", "kept_s"),
    [
        (["2d"], (2 * DAY_S, 2 * DAY_S, 2 * DAY_S, 2 * DAY_S)),
        (["calls=12h"], (DAY_S // 2, 30 * DAY_S, 90 * DAY_S, 400 * DAY_S)),
        (["calls=12h,minutes=1d12h"], (DAY_S // 2, DAY_S * 3 // 2, 90 * DAY_S, 400 * DAY_S)),
        (["2d", "five-minutes=3d", "hours = 1w"], (2 * DAY_S, 2 * DAY_S, 3 * DAY_S, 7 * DAY_S)),
    ],
)
@pytest.mark.usefixtures("made_up")
def test_retention(written: list[str], kept_s: tuple[int, ...]) -> None:
    """Retention is read for all kinds, or for some; the others are as the settings say, and a later word counts."""
    arguments = [part for one in written for part in ("--retention", one)]
    kept = answer_of("--calls-per-second", "1", *arguments)["load"]["retention"]
    assert tuple(kept.values()) == kept_s


@pytest.mark.usefixtures("made_up")
def test_retention_of_the_settings() -> None:
    """A retention that is not asked for is what CALLMETER_RETENTION__... says."""
    kept = answer_of("--calls-per-second", "1", CALLMETER_RETENTION__CALLS="7d")["load"]["retention"]
    assert kept["calls_s"] == 7 * DAY_S


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "Missing option '--calls-per-second'"),
        (["--calls-per-second", "0"], "0.0 is not in the range x>0"),
        (["--calls-per-second", "-5"], "is not in the range x>0"),
        (["--calls-per-second", "nan"], "Calls a second, projects, models, ops and message bytes must be above 0."),
        (["--calls-per-second", "inf"], "must be above 0"),
        (["--calls-per-second", "1", "--projects", "0"], "0 is not in the range x>=1"),
        (["--calls-per-second", "1", "--retention", "7"], "'7' is not a duration"),
        (["--calls-per-second", "1", "--retention", "calls=0s"], "'0s' is out of range"),
        (["--calls-per-second", "1", "--retention", "days=7d"], "'days' is not kept; calls, minutes"),
        (["--calls-per-second", "1", "--message-bytes", "much"], "'much' is not a size"),
        (["--calls-per-second", "1", "--message-bytes", "0"], "must be above 0"),
        (["--calls-per-second", "1", "--projects", "4", "--busiest-percent", "20"], "at least its even share"),
        (["--calls-per-second", "1", "--busy-percent", "0"], "is not in the range 0<x<=100"),
    ],
)
@pytest.mark.usefixtures("made_up")
def test_mistakes(arguments: list[str], sentence: str) -> None:
    """Each mistake is refused with status 2 and named."""
    done = run(*arguments)
    assert done.exit_code == 2
    assert sentence in " ".join(done.output.split())


@pytest.mark.usefixtures("made_up")
def test_what_is_sealed_goes_into_a_directory() -> None:
    """The plan reckons with objects where the settings name a directory or the option says so, and shows them."""
    url = {"CALLMETER_SEGMENTS__URL": "file:///var/lib/callmeter"}
    asked = ("--calls-per-second", "10")
    assert answer_of(*asked, **url)["load"]["moves"]
    assert not answer_of(*asked, "--no-objects", **url)["load"]["moves"]
    objects_bytes = answer_of(*asked, "--objects")["plan"]["memory"]["objects_bytes"]
    assert objects_bytes == pytest.approx(10 * (30 * 86_400 - 31 * 3_600) * 200 * 0.09)
    lines = [" ".join(line.split()) for line in run(*asked, "--objects").output.splitlines()]
    assert "objects 446 MB in CALLMETER_SEGMENTS__URL, beside Redis" in lines
    assert not any(line.startswith("objects") for line in run(*asked).output.split("\n"))


@pytest.mark.usefixtures("made_up")
def test_nothing_is_sealed() -> None:
    """The plan reckons without sealing where the settings say that nothing is sealed."""
    asked = ("--calls-per-second", "100", "--retention", "1d", "--master-memory", "1TB")
    memory = answer_of(*asked, CALLMETER_SEGMENTS__SEAL="false")["plan"]["memory"]
    assert memory["records_bytes"] == pytest.approx(100 * 86_400 * 200)


def test_figure_that_was_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that was not recorded is named, with what measures it."""
    monkeypatch.setattr(plan_command, "read_figures", lambda: figures_of({"memory": SECTIONS["memory"]}))
    done = run("--calls-per-second", "1")
    assert done.exit_code == 1
    assert "worker_us_per_event is missing; `python -m bench --record`" in done.output


@pytest.mark.usefixtures("made_up")
def test_table() -> None:
    """Numbers with their arithmetic, the warning, the sources, in lines that fit a terminal of 110 columns."""
    done = run("--calls-per-second", "10000", "--retention", "1d", "--master-memory", "1TB")
    lines = done.output.splitlines()
    assert done.exit_code == 0
    assert lines[0] == "10,000 calls/s of 1 project; in each 5 models, 20 ops, 50 users, 0 runs"
    assert any(line.split()[:2] == ["processes", "4"] and "20,000 events/s ÷ 5,000" in line for line in lines)
    assert any(line.split()[:4] == ["in", "20", "MB/s", "20,000"] for line in lines)
    assert any(line.split()[:3] == ["30", "d", "sums"] and line.split()[3:5] == ["81.4", "ms"] for line in lines)
    assert "! The busiest project sends 20,000 events/s, one partition takes 5,000: key messages by trace, " in (
        done.output.replace("\n", " ")
    )
    assert "  ingest_ceiling, memory, sealing, answers: 2026-01-02, 2 cores" in lines
    assert "  scaling, more: 2026-01-03, in a short run, 2 cores" in lines
    assert max(map(len, lines)) <= 110


def test_readme_shows_what_the_command_says() -> None:
    """The worked example of docs/capacity.md is printed by the command, with the figures in the repository; paste it
    anew after those change."""
    shown = (DOCS / "capacity.md").read_text().split(EXAMPLE)[1]
    command, *lines = shown.splitlines()
    printed = [f"    {line}".rstrip() for line in run(*command.split()).output.splitlines()]
    assert [line.rstrip() for line in lines[1 : len(printed) + 1]] == printed
