"""What it costs to look at alert rules each second: CPU of the api and of the alerter, and how often they looked.

    python -m bench.alert_rules [rules] [seconds] [--ops N]     # default: 50 rules, 60 s, 20 ops

The rules have windows of up to three days, over calls of three days and calls that go on coming, some of them late.
"""

import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from aggregator.calls.event import Event
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from bench.scale import tell
from bench.stage import Stage, cpu_s
from tests.support.alerting import alerter, api_of
from tests.support.folding import KEEP_ALL, PROJECT, SHARD, T0_US, end, prices, start, tokens

RULES, SECONDS, OPS = 50, 60, 20
HISTORY_S, CALLS_A_MINUTE = 3 * 86_400, 20
BATCH = 2_000
LIVE_CALLS_A_SECOND, BATCHES_A_SECOND = 20, 5
KINDS: Sequence[dict[str, object]] = (
    {"kind": "burn_rate", "objective": 0.99, "group_by": "op_name"},
    {"kind": "burn_rate", "objective": 0.99},
    {"kind": "cost", "per": "day", "above": 1e9, "group_by": "model"},
    {"kind": "ratio", "window": "1d", "above": 0.99, "group_by": "op_name"},
    {"kind": "percentile", "percentile": 95, "window": "1h", "above": 1e9, "group_by": "op_name"},
    {"kind": "change", "metric": "call_count", "window": "6h", "above": 1e9},
    {"kind": "threshold", "metric": "total_tokens", "window": "3d", "above": 1e12},
    {"kind": "ratio", "window": "5m", "above": 0.99, "group_by": "op_name"},
    {"kind": "no_data", "window": "1h", "group_by": "op_name", "seen_within": "1d"},
    {"kind": "threshold", "metric": "error_count", "window": "5m", "above": 1e9},
)


def main(arguments: Sequence[str]) -> None:
    """Print the CPU that they took in each second, and the looks."""
    given = [int(one) for one in arguments if one.isdigit()]
    rules, seconds = given[0] if given else RULES, given[1] if len(given) > 1 else SECONDS
    ops = int(arguments[arguments.index("--ops") + 1]) if "--ops" in arguments else OPS
    with Stage(broker=False) as stage:
        url, directory = stage.redis_server.url, stage.directory
        shard = Shard(ShardStore(connect(url), SHARD), prices(), KEEP_ALL)
        feed(shard, ops)
        tell("three days are folded")
        with api_of(url, directory) as api:
            watching = alerter(0, url, api, rule_file(directory, rules), directory)
            watching.start_until_logged("alerts go on")
            go_on(shard, ops, 5)
            began_s = time.time()
            pids = {"api": api.program.pid or 0, "alerter": watching.pid or 0}
            answered = asked(api.port)
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            go_on(shard, ops, seconds)
            took_s = time.time() - began_s
            shares = {name: 100 * (cpu_s(pid) - before[name]) / took_s for name, pid in pids.items()}
            asked_a_second = (asked(api.port) - answered) / took_s
            watching.stop()
    sys.stdout.write(
        f"{rules} rules, {ops} ops, {LIVE_CALLS_A_SECOND} calls a second: "
        f"api {shares['api']:.0f} % of a core, alerter {shares['alerter']:.0f} %; "
        f"{asked_a_second:.0f} questions a second\n"
    )


def feed(shard: Shard, ops: int) -> None:
    """Fold calls of three days up to now."""
    first_s = time.time() - HISTORY_S
    events: list[Event] = []
    for number in range(HISTORY_S // 60 * CALLS_A_MINUTE):
        events += call(f"old-{number}", first_s + number * 60 / CALLS_A_MINUTE, number, ops)
        if len(events) >= BATCH:
            apply(shard, events)
            events = []
    apply(shard, events)


def go_on(shard: Shard, ops: int, seconds: int) -> None:
    """Fold calls as they come; each tenth began five minutes ago, each hundredth three hours ago."""
    until_s, numbers = time.time() + seconds, numbered()
    while (now_s := time.time()) < until_s:
        events: list[Event] = []
        for _ in range(LIVE_CALLS_A_SECOND // BATCHES_A_SECOND):
            number = next(numbers)
            ago_s = 10_800 if number % 100 == 0 else 300 if number % 10 == 0 else 1
            events += call(f"live-{time.time_ns()}", now_s - ago_s, number, ops)
        apply(shard, events)
        time.sleep(max(0.0, 1 / BATCHES_A_SECOND - (time.time() - now_s)))


def numbered() -> Iterator[int]:
    """Numbers from 1 on."""
    number = 0
    while True:
        yield (number := number + 1)


def call(name: str, at_s: float, number: int, ops: int) -> list[Event]:
    """A call of one of the ops; each tenth fails."""
    at_s -= T0_US / SECOND_US
    usage = {f"model-{number % 5}": tokens(100, 10)}
    return [
        start(name, at_s, op_name=f"op-{number % ops}", user_id=f"user-{number % 50}"),
        end(name, at_s + 0.5, failed=number % 10 == 0, usage=usage),
    ]


def apply(shard: Shard, events: Sequence[Event]) -> None:
    """Fold some events."""
    now_us = time.time_ns() // 1_000
    shard.apply(events, (shard.next_offset or 0) + len(events), now_us, now_us, {})


def rule_file(directory: Path, count: int) -> Path:
    """A file of so many rules of all kinds, with filters that tell them apart."""
    rules = []
    for number in range(count):
        told = dict(KINDS[number % len(KINDS)])
        copy = number // len(KINDS)
        told |= {"filter": {"wb_user_ids": [f"user-{copy}"]}} if copy else {}
        rules.append({"name": f"rule-{number}", **told})
    file = directory / "alerts.yaml"
    receivers = [{"name": "r", "type": "webhook", "url": "http://127.0.0.1:1"}]
    file.write_text(yaml.safe_dump({"project": PROJECT, "receivers": receivers, "rules": rules}))
    return file


def asked(port: int) -> float:
    """How many questions the api has answered, by its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    of_breakdowns = [line for line in lines if line.startswith("callmeter_http_answers_total") and "breakdown" in line]
    return sum(float(line.rpartition(" ")[2]) for line in of_breakdowns if 'status="200"' in line)


if __name__ == "__main__":
    main(sys.argv[1:])
