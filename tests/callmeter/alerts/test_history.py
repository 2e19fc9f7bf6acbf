"""Rules on history: what a replay tells is what the same looks tell live; the command finds a burst of last week."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from callmeter.alerts.deciding import Look, decide
from callmeter.alerts.episodes import Event
from callmeter.alerts.history import instants, replay
from callmeter.alerts.measuring import Seen, rfc3339
from callmeter.alerts.rules import Rule
from callmeter.commands.alerts import alerts
from callmeter.settings import Settings
from tests.callmeter.alerts.rule_files import HOOK, PROJECT, as_told, rule_file
from tests.pipeline.pipeline import Api
from tests.support.folding import KEEP_ALL, SHARD, T0_US, end, prices, start

ERRORS = {"name": "errors", "kind": "ratio", "window": "5m", "above": 0.5, "group_by": "op_name"}
HISTORIES = st.lists(
    st.none() | st.dictionaries(st.sampled_from("abc"), st.sampled_from([None, 0.1, 0.7, 0.9])), max_size=25
)


@given(HISTORIES, st.sampled_from(["0s", "60s", "2m"]), st.sampled_from(["0s", "2m"]))
def test_a_replay_tells_what_was_told(history: list[dict[str, Any] | None], for_: str, keep: str) -> None:
    """Live and replayed, the same instants fire and resolve, each with its worst value."""
    file = rule_file(ERRORS | {"for": for_, "keep_firing_for": keep})
    [rule] = file.rules
    at = [minute * 60 * SECOND_US for minute in range(1, len(history) + 1)]

    def look(rule: Rule, at_us: int) -> Look:
        values = history[at_us // (60 * SECOND_US) - 1]
        if values is None:
            return Look(rule, at_us, None)
        return Look(rule, at_us, {op: Seen(one, one is not None and one > 0.5, 0.5) for op, one in values.items()})

    live: list[tuple[str, Event, int]] = []
    episodes: Any = {}
    for at_us in at:
        decided = decide(file, episodes, [look(rule, at_us)], at_us)
        episodes = decided.episodes
        live += [(str(one.key[2]), one.event, at_us) for one in decided.told]
    with ThreadPoolExecutor(2) as asking:
        replayed = replay(rule, at, look, asking, lambda _: None)
    told = [(str(one.group), Event.FIRING, one.fired_us) for one in replayed.fired]
    told += [(str(one.group), Event.RESOLVED, one.resolved_us) for one in replayed.fired if one.resolved_us is not None]
    assert sorted(told) == sorted(live)
    assert replayed.unknown == history.count(None)
    assert all(one.worst is not None and one.worst > 0.5 for one in replayed.fired)


def command(*arguments: str) -> Result:
    """`callmeter alerts` with these arguments."""
    return CliRunner().invoke(alerts, arguments, obj=Settings())


def test_instants() -> None:
    """Whole minutes within the window, as far apart as was asked for."""
    assert list(instants(61 * SECOND_US, 300 * SECOND_US, 120)) == [120 * SECOND_US, 240 * SECOND_US]
    assert list(instants(0, 60 * SECOND_US, 60)) == [0, 60 * SECOND_US]


@pytest.fixture
def api(redis_url: str, tmp_path: Path) -> Any:
    """An api over an hour in which op `bad` fails from minute 20 to minute 29, and op `good` never does."""
    shard = Shard(ShardStore(connect(redis_url), SHARD), prices(), KEEP_ALL)
    events = []
    for minute in range(60):
        for op in ("bad", "good"):
            for number in range(4):
                name, at_s = f"{op}-{minute}-{number}", minute * 60 + 5
                events.append(start(name, at_s, op_name=op))
                events.append(end(name, at_s + 1, failed=op == "bad" and 20 <= minute < 30))
    now_us = T0_US + 3_600 * SECOND_US
    shard.apply(events, len(events), now_us, now_us, {})
    now = datetime.fromtimestamp(now_us / SECOND_US, UTC).isoformat()
    kept = {f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}
    where = {"REDIS__URL": redis_url, "REDIS__NAMESPACE": SHARD.namespace, "API__AUTH": "false", "NOW": now}
    api = Api(kept | where, tmp_path / "api.log")
    api.start()
    yield api
    api.stop()


def test_the_command_says_what_would_have_been_told(api: Api, tmp_path: Path) -> None:
    """The command tells a firing once more than half of the window's calls failed, and its end once that is over."""
    told = as_told(ERRORS, {"name": "stale", "kind": "stale", "above": "60s"})
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(told))
    window = ["--from", rfc3339(T0_US), "--to", rfc3339(T0_US + 3_600 * SECOND_US)]
    asked = ["test", str(tmp_path / "alerts.yaml"), *window, "--url", f"http://127.0.0.1:{api.port}"]
    done = command(*asked, "--step", "60", "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout.strip().splitlines()[-1])
    # At minute m the five minutes before it count: three of them fail from minute 23 on, fewer again from 33 on.
    [fired] = found["fired"]
    assert fired == {
        "rule": "errors",
        "group": "bad",
        "fired_at": rfc3339(T0_US + 23 * 60 * SECOND_US),
        "resolved_at": rfc3339(T0_US + 33 * 60 * SECOND_US),
        "worst": 1.0,
    }
    assert (found["looks"], found["unknown"], found["left_out"]) == (61, {}, ["stale"])
    shown = command(*asked, "--step", "60")
    assert "1 alerts at 61 instants." in shown.output
    assert "100 %" in shown.output
    assert "stale" in shown.output


def test_check(tmp_path: Path) -> None:
    """A file that is right is counted; of one that is wrong all mistakes are told, and the status says so."""
    file = tmp_path / "alerts.yaml"
    silence = {"rule": "errors", "until": datetime(2020, 1, 1, tzinfo=UTC)}
    file.write_text(yaml.safe_dump(as_told(ERRORS, silences=[silence])))
    done = command("check", str(file))
    assert (done.exit_code, done.output) == (
        0,
        f"{file}: 1 rules, 1 receivers, 1 silences\n1 of the silences are over.\n",
    )
    file.write_text(yaml.safe_dump({"project": PROJECT, "receivers": [HOOK], "rules": [{"name": "a", "kind": "cost"}]}))
    done = command("check", str(file))
    assert done.exit_code == 1
    assert "rules[0].per is missing" in done.output
