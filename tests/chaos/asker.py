"""Asks the api all the time, and afterwards judges every answer by what was applied before and after it was given."""

import random
import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import httpx

from tests.chaos.history import History, Offsets, Totals
from tests.pipeline.pipeline import Api

PAUSE_S = 0.02
PROJECTS = ("acme/project-0", "acme/project-1", "acme/project-2")
# The second begins and ends inside a minute, before and after all calls: it is answered from call records as well.
WINDOWS = (
    ("2025-03-25T00:00:00Z", "00:00:00Z", 86_400),
    ("2025-03-25T23:58:59.123457Z", "01:02:03.4Z", 3_600),
)
METRICS = {
    "call_metrics": [{"metric": "latency_ms"}, {"metric": "error_count"}, {"metric": "call_count"}],
    "usage_metrics": [{"metric": "total_tokens"}],
}
# What a client's clock and the way of an answer may add to the lag that the api states.
LAG_SLACK_S = 1.0
# Of some thousand answers, on a machine busy with much else, there was one; without reading again there were three.
BLURRED_MAX = 2
# Redis is back and the first question after that may still meet a connection that is dead.
AWAY_GRACE_S = 2.0


class Asked(NamedTuple):
    """A question and its answer, with the next offsets in Redis around it (None: Redis did not say).

    `began_s`, `ended_s`: Unix time, before and after all that. `totals`: None where there was no answer.
    """

    began_s: float
    ended_s: float
    project_id: str
    before: Offsets | None
    after: Offsets | None
    status: int
    totals: Totals | None
    as_of_us: int | None
    lag_s: float | None


class BrokenOff(NamedTuple):
    """A question whose connection was lost before the answer came."""

    began_s: float
    ended_s: float
    why: str


class Interval(NamedTuple):
    """A time during which something was so, Unix time."""

    began_s: float
    ended_s: float

    def meets(self, asked: Asked) -> bool:
        """Whether a question was under way in this time, or a little later."""
        return self.began_s <= asked.ended_s and asked.began_s <= self.ended_s + AWAY_GRACE_S


class Asker(threading.Thread):
    """Asks one question after the other. `applied` reads the next offsets, None while Redis is away; `until`: the day
    on which the windows end.
    """

    def __init__(self, api: Api, applied: Callable[[], Offsets | None], seed: int, until: str) -> None:
        super().__init__(name="asker", daemon=True)
        self.asked: list[Asked] = []
        self.broken_off: list[BrokenOff] = []
        self._api = api
        self._applied = applied
        self._until = until
        self._rng = random.Random(seed)
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ask nothing more, and return when the last answer is here."""
        self._stopped.set()
        if self.ident is not None:
            self.join()

    def run(self) -> None:
        """Ask until `stop`."""
        while not self._stopped.wait(PAUSE_S):
            project_id, (start, end, granularity) = self._rng.choice(PROJECTS), self._rng.choice(WINDOWS)
            window = {"start": start, "end": f"{self._until}T{end}", "granularity": granularity}
            began_s, before = time.time(), self._applied()
            try:
                response = self._api.ask("/calls/stats", {"project_id": project_id, **window, **METRICS})
            except httpx.HTTPError as failed:
                self.broken_off.append(BrokenOff(began_s, time.time(), repr(failed)))
                continue
            after, ended_s = self._applied(), time.time()
            answered = response.status_code == 200
            self.asked.append(
                Asked(
                    began_s,
                    ended_s,
                    project_id,
                    before,
                    after,
                    response.status_code,
                    _totals(response.json()) if answered else None,
                    _as_of_us(response.headers.get("X-Data-As-Of")) if answered else None,
                    float(response.headers["X-Data-Lag-Seconds"]) if "X-Data-Lag-Seconds" in response.headers else None,
                )
            )


def unexpected(broken_off: Iterable[BrokenOff], expected: Iterable[Interval]) -> list[str]:
    """Return what broke off while nothing happened that lets questions break off."""
    expected = list(expected)
    return [
        f"no answer at {one.began_s:.3f}: {one.why}"
        for one in broken_off
        if not any(interval.began_s <= one.ended_s and one.began_s <= interval.ended_s for interval in expected)
    ]


def wrong_answers(
    asked: Iterable[Asked], history: History, away: Iterable[Interval], rollbacks: Iterable[Interval]
) -> list[str]:
    """Returns what is wrong with the answers.

    `away`: when Redis was not to be reached. `rollbacks`: when it may have forgotten; an answer of that time is not
    held against the offsets that Redis had before or after, yet still against its own as-of time. Few answers may be
    of more than one instant, as docs/semantics.md says of those that change again and again while they are read.
    """
    away, rollbacks = list(away), list(rollbacks)
    found, blurred = [], 0
    for one in asked:
        if one.totals is None:
            if one.status != 503 or not any(interval.meets(one) for interval in away):
                found.append(f"status {one.status} at {one.began_s:.3f}")
            continue
        forgot = any(interval.meets(one) for interval in rollbacks)
        if mistake := _mistake(one, history, forgot):
            blurred += 1
            if blurred > BLURRED_MAX or _mistake(one, history, forgot, at_one_instant=False):
                found.append(f"{one.project_id} at {one.began_s:.3f}-{one.ended_s:.3f}: {mistake}")
    return found


def _mistake(one: Asked, history: History, forgot: bool, at_one_instant: bool = True) -> str | None:
    assert one.totals is not None
    before, after = (None, None) if forgot else (one.before, one.after)
    least, most = history.between(one.project_id, before or {}, after, at_one_instant)
    if before is not None and not _at_least(one.totals, least):
        return f"{one.totals} is less than {least}, applied before the question"
    # Whatever Redis has forgotten, no project ever has more than its log comes to: else it is another one's.
    if not _at_least(most, one.totals):
        return f"{one.totals} is more than {most}, the most that was applied by then"
    if one.as_of_us is None:
        # Only while some shard holds nothing yet: of what will be in it nothing can be said.
        known = not forgot and one.before is not None and history.applied_in_all(one.before)
        return f"{one.totals} without X-Data-As-Of" if known else None
    told, _ = history.between(one.project_id, history.applied_as_of(one.as_of_us), after, at_one_instant)
    if not _at_least(one.totals, told):
        return f"{one.totals} is less than {told}, which is what there was as of {one.as_of_us / 1e6:.3f}"
    lag_s = one.ended_s - one.as_of_us / 1e6
    if one.lag_s is None or abs(one.lag_s - max(lag_s, 0)) > LAG_SLACK_S + one.ended_s - one.began_s:
        return f"X-Data-Lag-Seconds is {one.lag_s}, not {lag_s:.3f}"
    return None


def _at_least(one: Totals, other: Totals) -> bool:
    return all(of_one >= of_other for of_one, of_other in zip(one, other, strict=True))


def _totals(body: Any) -> Totals:
    calls, usage = body["call_buckets"], body["usage_buckets"]
    return Totals(
        sum(row["sum_call_count"] for row in calls),
        sum(row["sum_error_count"] for row in calls),
        sum(row["sum_latency_ms"] for row in calls),
        sum(row["sum_total_tokens"] for row in usage),
    )


def _as_of_us(header: str | None) -> int | None:
    return None if header is None else round(datetime.fromisoformat(header).timestamp() * 1e6)
