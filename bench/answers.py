"""Answers over HTTP from a month of calls: one client; each filter; usage of trees; 32 clients while events come in."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import chain
from statistics import median

from aggregator.layout.keys import ShardName
from bench.asking import Asker, dashboard_metrics, dashboard_questions, stats_body, time_single
from bench.crowd import time_crowd
from bench.feeding import Feeding, recent_messages
from bench.measuring import (
    Line,
    Measured,
    Target,
    alone,
    compared,
    measured,
    ours_at_most,
    percentile,
    percentile_in_parts,
    ratio_at_most,
)
from bench.month import OPS, PROJECT, USERS, Sample, Sampled, events_of, fold, last_minute, month_lines, month_until
from bench.scale import Scale, tell
from bench.stage import Stage, pause
from bench.trees import tree_events, usage_body

STATS, USAGE = "/calls/stats", "/calls/usage"
P50_MS_MAX = {
    "last hour auto": 3.0,
    "24 h at 5 min": 6.0,
    "7 d at 1 h, p95 latency": 12.0,
    "30 d sums": 25.0,
    "30 d p50/p95/p99": 150.0,
}
USAGE_P50_MS_MAX = 10.0
FILTERED_MAX = 4.0
# Those that are rolled up; the others look calls up, and cost by how many they find.
BOUNDED_FILTERS = (
    "op_names", "op_names with :*", "trace_roots_only", "wb_user_ids", "wb_run_ids", "op, user and roots",
)  # fmt: skip
CROWD, CROWD_MAX = 32, 10.0
OWN_WINDOWS = ("last hour auto", "24 h at 5 min")
CROWD_S = {True: 2.0, False: 20.0}
FED_EVENTS_PER_S = 1_000
REQUESTS = 20
PARTITIONS = 100

Times = dict[str, list[float]]


def run(scale: Scale) -> Iterator[Line]:
    """All of it at a million calls."""
    calls, end = scale.amount(1_000_000, 100_000), last_minute()
    rounds = scale.rounds()
    with Stage() as stage:
        topic = stage.new_topic()
        sample = load(stage, topic, calls, end)
        trees = load_trees(stage, topic, scale, end)
        _, address = stage.api(topic, NOW=end.isoformat())
        questions = dashboard_questions(PROJECT, end)
        single = time_single(address, STATS, questions, rounds, REQUESTS)
        for name, times in single.items():
            title, target = f"answers {calls:,}: {name}", ours_at_most(P50_MS_MAX[name])
            yield from percentile_lines(title, times, target, f"answer_ms.{name}.{calls}")
        yield from _anew(stage, topic, calls, end, rounds)
        for name, times in time_single(address, USAGE, trees, rounds, REQUESTS).items():
            yield from percentile_lines(f"usage: {name}", times, ours_at_most(USAGE_P50_MS_MAX))
        yield from _filtered(stage, topic, sample, end, rounds)
        yield from _nothing(stage, address, end, rounds)
        worker = stage.worker(topic, NOW=end.isoformat())
        worker.start_until_logged("partition assigned")
        messages = recent_messages(end, timedelta(minutes=10), FED_EVENTS_PER_S, ops=OPS, users=USERS)
        with Feeding(stage.bootstrap_servers, topic, messages, FED_EVENTS_PER_S) as feeding:
            for title, name, bodies, p99_target in _crowds(questions, end):
                feeding.check()
                tell(f"{title}: {name}")
                times = time_crowd(address, STATS, bodies, CROWD_S[scale.short])
                yield from _crowd_lines(f"answers {calls:,}, {title}: {name}", times, single[name], p99_target)


def _crowds(questions: Mapping[str, bytes], end: datetime) -> Iterator[tuple[str, str, list[bytes], Target | None]]:
    """Many screens with one dashboard, which the api may answer together; and each with a window of its own.

    Of the latter, clients that never pause keep one process at work on as many questions as there are clients: none can
    be answered in less than 32 times of what one takes, so there is no target.
    """
    for name, body in questions.items():
        yield f"{CROWD} clients", name, [body] * CROWD, ratio_at_most(CROWD_MAX)
    ends = [end - timedelta(minutes=minute) for minute in range(CROWD)]
    for name in OWN_WINDOWS:
        yield f"{CROWD} clients' own windows", name, [dashboard_questions(PROJECT, one)[name] for one in ends], None


def load(stage: Stage, topic: str, calls: int, end: datetime) -> Sample:
    """A month of so many calls in the shard of the topic."""
    # The append-only file of so many small batches would be rewritten several times; it is switched on afterwards.
    stage.redis.config_set("appendonly", "no")
    events = Sampled(events_of(month_lines(month_until(end, calls)), end), end)
    fold(stage.redis_server.url, ShardName(topic, topic, 0), events, end)
    return events.sample()


def load_trees(stage: Stage, topic: str, scale: Scale, end: datetime) -> dict[str, bytes]:
    """Traces of several sizes; what is asked about them, by a description of it."""
    sizes = {"few": (100, 10), "many": (100, scale.amount(10_000, 100)), "one": (1, scale.amount(1_000_000, 20_000))}
    events = chain.from_iterable(tree_events(name, *size, end) for name, size in sizes.items())
    fold(stage.redis_server.url, ShardName(topic, topic, 0), events, end)
    stage.redis.config_set("appendonly", "yes")
    _wait_for_rewrite(stage)
    return {
        f"{traces} {'root' if traces == 1 else 'roots'} of {calls:,} calls": usage_body(name, traces)
        for name, (traces, calls) in sizes.items()
    }


def _wait_for_rewrite(stage: Stage) -> None:
    """Waits until the append-only file that was switched on holds everything: writing it keeps a core busy."""
    tell("Redis writes its append-only file")
    while stage.redis.info("persistence")["aof_rewrite_in_progress"]:
        pause()


def percentile_lines(
    name: str, times: list[float], p50_target: Target | None = None, p50_figure: str = ""
) -> Iterator[Line]:
    """p50 with its target, p95 and p99, of milliseconds."""
    for wanted, target in ((50, p50_target), (95, None), (99, None)):
        rounds = [percentile(times[at : at + REQUESTS], wanted) for at in range(0, len(times), REQUESTS)]
        number = Measured(percentile(times, wanted), measured(rounds).spread)
        yield Line(f"{name}: p{wanted}", "ms", number, target=target, figure=p50_figure if wanted == 50 else "")


def _anew(stage: Stage, topic: str, calls: int, end: datetime, rounds: int) -> Iterator[Line]:
    """Asks the questions where nothing has been kept: each with a window a second before the last, or of an api that
    keeps no rows."""
    questions = [dashboard_questions(PROJECT, end - timedelta(seconds=back)) for back in range(REQUESTS * rounds)]
    _, address = stage.api(topic, NOW=end.isoformat())
    asker = Asker(address)
    for name in questions[0]:
        times = [asker.time_ms(STATS, of_second[name]) for of_second in questions]
        yield from percentile_lines(f"answers {calls:,}, the window moving on: {name}", times)
    asker.close()
    keeping, address = stage.api(topic, NOW=end.isoformat(), API__KEPT_BYTES_MAX="0")
    for name, times in time_single(address, STATS, questions[0], rounds, REQUESTS).items():
        yield from percentile_lines(
            f"answers {calls:,}, nothing kept: {name}", times, p50_figure=f"answer_first_ms.{name}.{calls}"
        )
    keeping.stop()


def _filtered(stage: Stage, topic: str, sample: Sample, end: datetime, rounds: int) -> Iterator[Line]:
    """The second question again with each kind of filter, in turn with itself without; no rows are kept."""
    api, address = stage.api(topic, NOW=end.isoformat(), API__KEPT_BYTES_MAX="0")
    filters = {
        "op_names": {"op_names": [sample.op_name]},
        "op_names with :*": {"op_names": [sample.op_name.rpartition(":")[0] + ":*"]},
        "input_refs": {"input_refs": [sample.input_ref]},
        "output_refs": {"output_refs": [sample.output_ref]},
        "parent_ids": {"parent_ids": [sample.parent_id]},
        "trace_ids": {"trace_ids": [sample.trace_id]},
        "call_ids": {"call_ids": [sample.call_id]},
        "thread_ids": {"thread_ids": [sample.thread_id]},
        "turn_ids": {"turn_ids": [sample.turn_id]},
        "trace_roots_only": {"trace_roots_only": True},
        "wb_user_ids": {"wb_user_ids": [sample.user_id]},
        "wb_run_ids": {"wb_run_ids": [sample.run_id]},
        "op, user and roots": {"op_names": [sample.op_name], "wb_user_ids": [sample.user_id], "trace_roots_only": True},
    }
    day = timedelta(days=1)
    bodies = {"": stats_body(PROJECT, end, day, granularity=300, **dashboard_metrics())}
    for name, asked in filters.items():
        bodies[name] = stats_body(PROJECT, end, day, granularity=300, filter=asked, **dashboard_metrics())
    by_round: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(rounds):
        for name, times in time_single(address, STATS, bodies, 1, 10).items():
            by_round[name].append(median(times))
    api.stop()
    for name in filters:
        target = ratio_at_most(FILTERED_MAX) if name in BOUNDED_FILTERS else None
        yield compared(f"filtered: 24 h at 5 min, {name} / unfiltered", "ms", by_round[name], by_round[""], target)


def _nothing(stage: Stage, address: str, end: datetime, rounds: int) -> Iterator[Line]:
    """A project that sent no call, asked for where there is one partition, and where there are many."""
    body = stats_body("acme/none", end, timedelta(hours=1), **dashboard_metrics())
    for partition in range(PARTITIONS):
        fold(stage.redis_server.url, ShardName("many", "many", partition), tree_events("x", 1, 1, end), end)
    many, many_address = stage.api("many", NOW=end.isoformat())
    asked = {"": body}
    floor = time_single(address, STATS, asked, rounds, REQUESTS)[""]
    in_many = time_single(many_address, STATS, asked, rounds, REQUESTS)[""]
    many.stop()
    more_ms = (percentile(in_many, 50) - percentile(floor, 50)) / (PARTITIONS - 1)
    yield from percentile_lines("answers: nothing found", floor, p50_figure="answer_floor_ms")
    yield alone("answers: each further partition", "ms", [more_ms], figure="answer_ms_per_partition")


def _crowd_lines(name: str, times: list[float], single: list[float], p99_target: Target | None) -> Iterator[Line]:
    single_p50 = percentile_in_parts(single, 50)
    for wanted, target in ((50, None), (95, None), (99, p99_target)):
        crowd = percentile_in_parts(times, wanted)
        ratio = crowd.median / single_p50.median
        yield Line(f"{name}: p{wanted} / single p50", "ms", crowd, single_p50, ratio, target)
