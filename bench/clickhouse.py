"""Our questions on ClickHouse (chdb, embedded), results compared with ours: raw calls, and rollups by minute.

Raw calls have a JSON summary column, as the reference's have. The rollups are an AggregatingMergeTree with a row per
minute and model, fed day by day: the strongest peer that aggregates beforehand. Warm: asked again and again; cold: the
first question to a process that has just started, ours and theirs.
"""

import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from aggregator.calls.event import UsageCounts
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from bench import clickhouse_sql as sql
from bench.agreement import check_answers, check_percentiles
from bench.answers import STATS, load
from bench.asking import Asker, dashboard_questions
from bench.environments import NotInstallable, python_with, start
from bench.generator import MODEL_NAMES, generate
from bench.measuring import Line, compared, in_turn
from bench.month import DAYS, PROJECT, last_minute, month_until
from bench.scale import Scale, tell, watched
from bench.stage import Stage, key_and_value

IN_A_ROW = 3


def run(scale: Scale) -> Iterator[Line]:
    """Load both, compare what they answer, then how fast."""
    try:
        python = python_with("chdb")
    except NotInstallable as why:
        yield Line("clickhouse", absent=str(why))
        return
    calls, end = scale.amount(1_000_000, 20_000), last_minute()
    with Stage(broker=False) as stage:
        load(stage, "month", calls, end)
        theirs = ClickHouse(python, stage.directory / "clickhouse")
        try:
            _load(theirs, stage.directory / "calls.jsonl", calls, end)
            yield from _compare(stage, theirs, calls, end, scale.rounds(short=2))
        finally:
            theirs.close()


class ClickHouse:
    """A session in a process of its own."""

    def __init__(self, python: Path, directory: Path) -> None:
        self._python, self._directory = python, directory
        self._process: subprocess.Popen[str] | None = None

    def ask(self, *queries: str) -> tuple[float, list[list[list[Any]]]]:
        """Seconds for all queries, and the rows of each. Raises RuntimeError."""
        if self._process is None:
            self._process = start(self._python, "bench.peers.clickhouse_session", str(self._directory))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        seconds, found = 0.0, []
        for query in queries:
            self._process.stdin.write(json.dumps({"sql": query}) + "\n")
            self._process.stdin.flush()
            reply = json.loads(self._process.stdout.readline() or '{"error": "ClickHouse ended"}')
            if "error" in reply:
                raise RuntimeError(f"{reply['error']}\n{query}")
            seconds += reply["seconds"]
            found.append(reply["rows"])
        return seconds, found

    def time_ms(self, *queries: str) -> float:
        """Milliseconds for all queries."""
        return self.ask(*queries)[0] * 1000

    def close(self) -> None:
        """End the process; the tables stay."""
        if self._process is not None:
            self._process.communicate()
            self._process = None


def _load(theirs: ClickHouse, path: Path, calls: int, end: datetime) -> None:
    settings = month_until(end, calls)
    with path.open("wb") as rows:
        for row in _rows(watched(generate(settings), 2 * calls, "events as rows for ClickHouse")):
            rows.write(row)
    theirs.ask(*sql.TABLES, sql.prices_insert(prices_in_dollars(end)), sql.INSERT_CALLS.format(path=path))
    path.unlink()
    for day in watched(range(DAYS + 1), DAYS + 1, "days of rollups in ClickHouse"):
        begin = settings.start.replace(second=0) + timedelta(days=day)
        theirs.ask(*sql.rollup_inserts(PROJECT, begin, begin + timedelta(days=1)))
    theirs.ask("OPTIMIZE TABLE calls FINAL", "OPTIMIZE TABLE usage_minutes FINAL", "OPTIMIZE TABLE call_minutes FINAL")


def _rows(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Starts and ends joined to calls, one JSON line each."""
    started: dict[str, dict[str, Any]] = {}
    for line in lines:
        request = msgspec.json.decode(key_and_value(line)[1])["req"]
        if "start" in request:
            start = request["start"]
            kept = ("project_id", "id", "trace_id", "parent_id", "op_name", "wb_user_id", "started_at")
            started[start["id"]] = {name: start[name] for name in kept}
        else:
            end = request["end"]
            row = started.pop(end["id"])
            row.update(ended_at=end["ended_at"], exception=end["exception"])
            row["summary_dump"] = msgspec.json.encode(end["summary"]).decode()
            yield msgspec.json.encode(row) + b"\n"


def prices_in_dollars(at: datetime) -> dict[str, list[float]]:
    """USD per token of each model that has a price."""
    book = PriceBook(None, PriceCatalogue())
    prices = {}
    for model in MODEL_NAMES:
        price = book.price(PROJECT, model, int(at.timestamp() * 1e6))
        if price is not None:
            uncached = price.cost(UsageCounts(1_000, 0, 0, 0, 0, 1)).uncached_input
            cached = price.cost(UsageCounts(1_000, 1_000, 0, 1_000, 0, 1))
            created = price.cost(UsageCounts(1_000, 0, 0, 0, 1_000, 1)).cache_creation
            prices[model] = [pico / 1e15 for pico in (uncached, cached.cache_read, created, cached.output)]
    return prices


def _compare(stage: Stage, theirs: ClickHouse, calls: int, end: datetime, rounds: int) -> Iterator[Line]:
    questions = dashboard_questions(PROJECT, end)
    sources = {"raw calls": sql.raw_queries, "rollups": sql.rollup_queries}
    for name, query in sql.QUERIES.items():
        for source, queries in sources.items():
            asked = queries(query, PROJECT, end)
            api, address = stage.api("month", NOW=end.isoformat())
            asker = Asker(address)
            theirs.close()
            theirs.ask("SELECT 1")
            cold = {"ours": asker.time_ms(STATS, questions[name]), "theirs": theirs.time_ms(*asked)}
            ours = msgspec.json.decode(asker.ask(STATS, questions[name]))
            check_answers(query, ours, theirs.ask(*asked)[1], whole=source == "raw calls")
            if source == "raw calls" and query.percentiles:
                check_percentiles(query, ours, theirs.ask(*sql.bound_queries(query, PROJECT, end))[1])
            tell(f"{name}, {source}, {rounds} rounds")
            contenders = {
                "ours": partial(_repeated, partial(asker.time_ms, STATS, questions[name])),
                "theirs": partial(_repeated, partial(theirs.time_ms, *asked)),
            }
            warm = in_turn(rounds, contenders)
            asker.close()
            api.stop()
            title = f"{calls:,} calls, {name}: ours / ClickHouse {source}"
            yield compared(f"{title}, warm", "ms", warm["ours"], warm["theirs"])
            yield compared(f"{title}, cold", "ms", [cold["ours"]], [cold["theirs"]])


def _repeated(measure: Callable[[], float]) -> float:
    """The median of a few in a row."""
    return median(measure() for _ in range(IN_A_ROW))
