"""Plans: numbers worked out by hand, nothing needed less for more calls, and what cannot fit is said."""

from dataclasses import replace

import pytest

from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S
from callmeter.planning.capacity import PARTITIONS_MAX, fewest
from callmeter.planning.load import Deployment, Load
from callmeter.planning.rollup_memory import LevelBytes, Mix, Views, touched, views_of
from tests.support.planning import LARGE, plan_of

# One view of each kind, and every call in each of them.
PLAIN = Mix(models=1, ops=1, users=0, calls_per_trace=1, usage_share=1)
DAY = Retention(calls_s=DAY_S, minutes_s=DAY_S)
# How long records wait until they are moved, where 600,000 come in an hour: 600 frames of 512 fill an object.
WAITS_H = 7 + 600 * 512 / 600_000


def test_small_load() -> None:
    """Everything about a hundred calls a second."""
    plan = plan_of(Load(100, mix=PLAIN, retention=DAY))
    assert plan.events_per_s == 200
    assert (plan.key, plan.partitions, plan.workers, plan.masters) == ("project", 1, 1, 1)
    assert plan.worker_events_per_s == pytest.approx(5_000)  # half of a million µs ÷ 100 µs
    assert plan.worker_cores == pytest.approx(0.016)  # 200 × 80 µs
    assert plan.redis_cores == pytest.approx(0.002)
    assert plan.worker_bytes == 200e6
    assert (plan.in_bytes_per_s, plan.out_bytes_per_s, plan.replication_bytes_per_s) == (200e3, 200e3, 400e3)
    assert plan.fits
    assert plan.warnings == ()


def test_memory() -> None:
    """10,000 calls in every minute: full cells, each of a rollup (1,000 bytes) and one model (800), in four views."""
    memory = plan_of(Load(10_000 / 60, mix=PLAIN, retention=DAY)).memory
    assert memory.records_bytes == pytest.approx(14_400_000 * 200)
    assert memory.indexes_bytes == pytest.approx(28_800_000 * 100)  # for a day more
    slots = {"m": 25 * 60, "f": 91 * 288, "h": 401 * 24}
    for letter, count in slots.items():
        # All but the 100 + 200 bytes of a cell of one call is sketches.
        assert memory.levels[letter] == pytest.approx(LevelBytes(count * 4 * 1_800, count * 4 * 1_500))
    assert memory.directories_bytes == pytest.approx(401 * 4 * 50)
    assert memory.total_bytes == pytest.approx(2.88e9 + 2.88e9 + 0.144e9 + sum(slots.values()) * 7_200 + 80_200)


def test_what_is_finished_takes_what_sealing_leaves() -> None:
    """The last hour of records is not sealed, of minutes two; of the rest a tenth and a fifth is left."""
    load = Load(10_000 / 60, mix=PLAIN, retention=DAY, seal_after_s=3_600)
    memory = plan_of(load).memory
    assert memory.records_bytes == pytest.approx((600_000 + 0.1 * (14_400_000 - 600_000)) * 200)
    assert memory.indexes_bytes == pytest.approx(28_800_000 * 100)  # nothing is known of what sealing leaves
    assert memory.levels["m"].total_bytes == pytest.approx((120 + 0.2 * (25 * 60 - 120)) * 4 * 1_800)
    assert memory.levels["h"].total_bytes == pytest.approx(401 * 24 * 4 * 1_800)


def test_what_has_moved_takes_what_is_left_and_its_objects() -> None:
    """Records are not sealed for an hour, and not moved for seven and as long as they take to fill an object, a day at
    most: a fiftieth is left of them in Redis, 9 % are in objects; nothing is known of what moving leaves of rollups.
    """
    kept = Retention(4 * 86_400, 86_400, 86_400, 86_400)
    load = Load(10_000 / 60, mix=PLAIN, retention=kept, seal_after_s=3_600)
    memory, moved = plan_of(load).memory, plan_of(replace(load, moves=True)).memory
    hour = 600_000 * 200
    assert moved.records_bytes == pytest.approx((1 + (WAITS_H - 1) * 0.1 + (96 - WAITS_H) * 0.02) * hour)
    assert moved.objects_bytes == pytest.approx((96 - WAITS_H) * 0.09 * hour)
    assert (moved.levels, moved.indexes_bytes) == (memory.levels, memory.indexes_bytes)
    assert memory.objects_bytes == 0
    slow = replace(load, calls_per_s=1.0, retention=DAY)
    assert plan_of(replace(slow, moves=True)).memory == plan_of(slow).memory


def test_indexes_go_to_pages_and_into_objects() -> None:
    """Indexes are where they came for up to two hours, and not in objects for 31; a fifth is left on pages, a tenth in
    objects and a hundredth in Redis then."""
    load = Load(10_000 / 60, mix=PLAIN, retention=DAY, seal_after_s=3_600, moves=True)
    shares = {"sealed_share__indexes": 0.2, "moved_share__indexes": 0.01, "object_share__indexes": 0.1}
    memory = plan_of(load, LARGE, **shares).memory
    hour = 600_000 * 100
    assert memory.indexes_bytes == pytest.approx((2 + 29 * 0.2 + (48 - 31) * 0.01) * hour)
    of_records = (24 - WAITS_H) * 0.09 * 600_000 * 200
    assert memory.objects_bytes == pytest.approx((48 - 31) * 0.1 * hour + of_records)


def test_sealing_takes_workers_time() -> None:
    """200 µs a call are as much as folding its two events."""
    folding = plan_of(Load(10_000, mix=PLAIN, retention=DAY), sealing_us_per_call=200.0)
    both = plan_of(Load(10_000, mix=PLAIN, retention=DAY, seal_after_s=3_600), sealing_us_per_call=200.0)
    assert both.worker_events_per_s == pytest.approx(folding.worker_events_per_s / 2)
    assert both.worker_cores == pytest.approx(folding.worker_cores + 20_000 * 100 / 1e6)


def test_what_is_kept_for_less_than_it_takes_to_seal_it() -> None:
    """Calls that are kept for less than it takes to seal them are reckoned as never sealed."""
    load = Load(10_000 / 60, mix=PLAIN, retention=Retention(1_800, 1_800, 1_800, 1_800), seal_after_s=3_600)
    assert plan_of(load).memory.records_bytes == pytest.approx(300_000 * 200)


def test_calls_without_usage_have_no_model() -> None:
    """A load with usage in no call is reckoned with rollups alone."""
    mix = replace(PLAIN, usage_share=0)
    levels = plan_of(Load(10_000 / 60, mix=mix, retention=DAY)).memory.levels
    assert levels["m"] == pytest.approx(LevelBytes(25 * 60 * 4 * 1_000, 25 * 60 * 4 * 900))


def test_few_calls_touch_few_cells() -> None:
    """A call a day is in one slot of a level, in four views, each with its model."""
    memory = plan_of(Load(1 / DAY_S, mix=PLAIN, retention=DAY)).memory
    assert memory.levels["m"].total_bytes == pytest.approx(25 / 24 * 4 * 300, rel=1e-3)
    assert memory.levels["m"].sketch_bytes == pytest.approx(0, abs=1)


@pytest.mark.parametrize(
    ("kinds", "calls", "expected"), [(10, 0, 0), (1_000_000, 1, 1), (10, 1e6, 10), (2, 2, 1.2642), (4, 4, 2.5285)]
)
def test_touched(kinds: float, calls: float, expected: float) -> None:
    """Few calls are all of different kinds, many touch them all."""
    assert touched(kinds, calls) == pytest.approx(expected, rel=1e-4)


def test_views() -> None:
    """A view for each op, for roots, each user, each run, and each combination; of no kind more than the limit."""
    mix = Mix(ops=20, users=50, runs=3, calls_per_trace=10)
    assert views_of(mix) == (Views(1, 1), Views(20, 1), Views(1, 0.1), Views(50, 1), Views(3, 1), Views(2_000, 1))
    assert views_of(replace(mix, views_max=10))[1:] == (
        Views(10, 1),
        Views(1, 0.1),
        Views(10, 1),
        Views(3, 1),
        Views(10, 1),
    )
    # Without users and runs only a root has two values, and so a combination.
    assert views_of(Mix(ops=20, users=0, calls_per_trace=10)) == (
        Views(1, 1),
        Views(20, 1),
        Views(1, 0.1),
        Views(20, 0.1),
    )


def test_views_that_are_not_kept_cost_nothing() -> None:
    """Views that are not kept cost nothing: with none at all only that of all calls is left."""
    assert plan_of(Load(10_000 / 60, mix=replace(PLAIN, views_max=0), retention=DAY)).memory.directories_bytes == (
        pytest.approx(401 * 2 * 50)  # roots have no limit to reach
    )


def test_project_that_is_too_much_for_one_partition() -> None:
    """20,000 events/s of one project are four partitions' work: by trace, in every shard."""
    plan = plan_of(Load(10_000, retention=DAY))
    assert (plan.key, plan.workers, plan.partitions) == ("trace", 4, 4)
    assert plan.warnings == (
        "The busiest project sends 20,000 events/s, one partition takes 5,000: key messages by trace, not by project.",
    )
    # 1 ms, a tenth for each partition, and in each shard 20 ms beyond that ms.
    assert [answer.p50_ms for answer in plan.answers] == pytest.approx([1 + 0.4 + 4 * 20])


def test_many_projects_fit_partitions() -> None:
    """A load of a hundred projects is keyed by project, and an answer reads one shard."""
    plan = plan_of(Load(10_000, projects=100, mix=PLAIN, retention=DAY))
    assert (plan.key, plan.workers, plan.warnings) == ("project", 4, ())
    # 100 calls/s are 259 million in 30 days: the most that was measured.
    assert [answer.p50_ms for answer in plan.answers] == pytest.approx([1 + 0.4 + 20])
    assert [answer.first_p50_ms for answer in plan.answers] == pytest.approx([1 + 0.4 + 40])


def test_busiest_project() -> None:
    """The busiest project decides by itself, with its own part of the calls."""
    assert plan_of(Load(10_000, projects=100, retention=DAY, busiest_share=0.25)).key == "project"
    assert plan_of(Load(10_000, projects=100, retention=DAY, busiest_share=0.26)).key == "trace"


def test_trace_keys_multiply_cells() -> None:
    """Every shard has cells of its own: as many times as there are shards, where all of them are full."""
    load = Load(1e6, mix=PLAIN, retention=DAY)
    plan = plan_of(load, replace(LARGE, master_bytes=1e15))
    assert (plan.key, plan.partitions) == ("trace", 400)
    assert plan.memory.levels["m"].total_bytes == pytest.approx(400 * 25 * 60 * 4 * 1_800)


def test_memory_asks_for_partitions() -> None:
    """Shards are as many as masters can take, since none is on two masters."""
    load = Load(1_000, projects=100, mix=PLAIN, retention=Retention(calls_s=DAY_S // 2, minutes_s=DAY_S))
    plan = plan_of(load, Deployment(master_bytes=10e9))
    assert plan.workers == 1
    assert plan.partitions == -(-plan.memory.total_bytes // 7e9) == plan.masters > 3
    assert "Memory asks for" in plan.warnings[0]
    assert plan.warnings[0].endswith("Rollups by 5m take most.")


def test_project_that_is_too_large_for_one_master() -> None:
    """Slow but kept long: by trace, so that it can be spread."""
    plan = plan_of(Load(1_000, mix=PLAIN), Deployment(master_bytes=100e9))
    assert plan.key == "trace"
    assert "The busiest project takes 800 GB" in plan.warnings[0]  # 518 of records, 268 of indexes, 13 of busy minutes
    assert plan.memory.total_bytes <= plan.partitions * 70e9


@pytest.mark.parametrize("smallest", [1, 2, 3, 7, 1_000, PARTITIONS_MAX - 1, PARTITIONS_MAX])
def test_fewest(smallest: int) -> None:
    """The smallest that fits, from the least that is asked for; none beyond what Kafka can have."""
    assert fewest(1, lambda count: count >= smallest) == smallest
    assert fewest(smallest, lambda count: True) == smallest
    assert fewest(1, lambda count: False) is None


def test_shards_that_fit_nowhere() -> None:
    """Cells alone that are too much for a master are said to be so; by trace they would only be more of them."""
    slow, fast = (plan_of(Load(rate, mix=PLAIN, retention=DAY), Deployment(master_bytes=1e6)) for rate in (100, 10_000))
    assert (slow.key, slow.partitions, slow.fits) == ("project", 1, False)
    assert (fast.key, fast.partitions, fast.fits) == ("trace", 4, False)
    for plan in (slow, fast):
        assert len(plan.warnings) == 1
        assert "This does not fit, however messages are keyed: a shard takes" in plan.warnings[0]


def test_too_many_shards_for_an_answer() -> None:
    """Twenty million rollups are all that a request may read: 27,777 shards of 720 hours, not one more."""
    deployment = replace(LARGE, master_bytes=1e15)
    at_most, more = (
        plan_of(Load(partitions * 2_500, mix=PLAIN, retention=DAY), deployment) for partitions in (27_777, 27_778)
    )
    assert (at_most.partitions, more.partitions) == (27_777, 27_778)
    assert (len(at_most.warnings), len(more.warnings)) == (1, 2)
    assert "are refused" in more.warnings[1]


def test_cluster_has_three_masters() -> None:
    """A load that does not fit one Redis gets a cluster, of three masters at least."""
    by_speed = Load(60_000, projects=100, mix=PLAIN, retention=Retention(3_600, 3_600, 3_600, 3_600))
    assert plan_of(by_speed).redis_cores == pytest.approx(1.2)
    assert plan_of(by_speed, replace(LARGE, busy=1)).masters == 3  # two would do for speed
    assert plan_of(by_speed, replace(LARGE, busy=0.25)).masters == 5


def test_larger_messages() -> None:
    """4 KB lie half way between 1 KB and 16 KB on the curve: 200 µs."""
    assert plan_of(Load(1, message_bytes=4_000)).worker_events_per_s == pytest.approx(2_500)


def test_growth() -> None:
    """Anything that makes an event cost more takes the rate down by as much, of workers and of Redis."""
    more = {"cpu_us_by_models__50": 100.0, "cpu_us_by_ops__2000": 75.0, "cpu_us_by_projects__100": 60.0}
    plan = plan_of(Load(100, projects=100, mix=Mix(models=50, ops=2_000)), LARGE, **more)
    assert plan.worker_events_per_s == pytest.approx(5_000 / (2 * 1.5 * 1.2))
    assert plan.redis_cores == pytest.approx(200 * 10e-6 * 2 * 1.5 * 1.2)


def test_projects_that_a_worker_meets() -> None:
    """Workers share projects that are keyed by project: seven, each with 14, do what eight do by trace, each with all
    hundred."""
    doubled = {"cpu_us_by_projects__100": 100.0}
    load = Load(10_000, projects=100, mix=PLAIN, retention=DAY)
    by_project = plan_of(load, LARGE, **doubled)
    assert (by_project.key, by_project.workers) == ("project", 7)
    assert by_project.worker_events_per_s == pytest.approx(5_000 / (100 / 7) ** 0.150515)
    by_trace = plan_of(replace(load, busiest_share=0.9), LARGE, **doubled)
    assert (by_trace.key, by_trace.workers) == ("trace", 8)
    assert by_trace.worker_events_per_s == pytest.approx(2_500)


def test_more_models_cost_an_answer_more() -> None:
    """Twice the models, twice what is read; fewer than were measured are not counted as cheaper."""
    of_models = {
        count: plan_of(Load(1, mix=Mix(models=count), retention=DAY)).answers[0].p50_ms for count in (1, 5, 10)
    }
    assert of_models[1] == of_models[5]
    assert of_models[10] - 1.1 == pytest.approx(2 * (of_models[5] - 1.1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"calls_per_s": 0},
        {"calls_per_s": -1},
        {"calls_per_s": float("nan")},
        {"calls_per_s": float("inf")},
        {"projects": 0},
        {"message_bytes": 0},
        {"mix": Mix(models=0)},
        {"mix": Mix(ops=0)},
        {"mix": Mix(calls_per_trace=0.5)},
        {"mix": Mix(usage_share=1.1)},
        {"projects": 10, "busiest_share": 0.09},
        {"busiest_share": 1.1},
    ],
)
def test_no_load(wrong: dict[str, float]) -> None:
    """Numbers that make no load are refused: no calls, no projects, and the like."""
    with pytest.raises(ValueError, match=r"above 0|a trace has|busiest project"):
        Load(**{"calls_per_s": 1, **wrong})  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"busy": 0}, {"busy": 1.1}, {"filled": 0}, {"master_bytes": 0}, {"replicas": 0}])
def test_no_room(wrong: dict[str, float]) -> None:
    """A plan without room is refused."""
    with pytest.raises(ValueError, match="above 0"):
        Deployment(**wrong)  # type: ignore[arg-type]
