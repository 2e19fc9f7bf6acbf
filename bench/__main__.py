"""Measures callmeter on this machine: `python -m bench`, or what of it is named; exits with 1 when a target is missed.

Lines go to standard output, one per result: name, ours, the other, ratio, target, met or missed. What is going on
meanwhile is told on standard error. `BENCH=short` or `--short`: in under five minutes, without what takes longest: the
ten million calls, scaling, the soak, and what is measured beside ClickHouse.
"""

import importlib
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from bench.measuring import HEADING, Line
from bench.recording import Occasion, record_figures, record_results
from bench.scale import Scale, tell

# In the order they run; each is a module of that name with a function `run`.
BENCHMARKS = (
    "ingest_ceiling",
    "peers_ingest",
    "scaling",
    "answers",
    "answers_10m",
    "clickhouse",
    "memory",
    "redis_sizes",
    "sealing",
    "sealed_shards",
    "backups",
    "storage",
    "sealed_answers",
    "facts",
    "soak",
    "freshness",
    "sketch",
)
# Unless named.
ONLY_FULL = (
    "answers_10m",
    "scaling",
    "clickhouse",
    "sealed_shards",
    "storage",
    "sealed_answers",
    "facts",
    "soak",
)

Benchmark = Callable[[Scale], Iterator[Line]]


@click.command(context_settings={"show_default": True, "max_content_width": 110})
@click.option("--short", is_flag=True, default=os.environ.get("BENCH") == "short", help="All in under five minutes.")
@click.option("--only", multiple=True, type=click.Choice(BENCHMARKS), help="One benchmark; may be given again.")
@click.option("--calls", type=click.IntRange(min=2_000), help="Of the soak, instead of 1,000,000 (40,000 if short).")
@click.option("--divide", default=1, hidden=True, help="Divide all amounts, to see that everything works.")
@click.option(
    "--record",
    is_flag=True,
    help="Add the results, with the date and the machine, to bench/RESULTS.md, and let `callmeter plan` reckon with "
    "them (callmeter/figures.json).",
)
def main(short: bool, only: tuple[str, ...], calls: int | None, divide: int, record: bool) -> None:
    """Measure how fast callmeter is on this machine, and against what else does its job."""
    if record and divide != 1:
        raise click.UsageError("What --divide measures means nothing: not to be recorded.")
    scale = Scale(short, divide, calls or 0)
    chosen = only or tuple(name for name in BENCHMARKS if not (short and name in ONLY_FULL))
    occasion = Occasion(datetime.now(UTC).date(), _machine(), short)
    lines: list[Line] = []
    print(f"# {occasion.day} {occasion.machine}{', short' if short else ''}\n{HEADING}", flush=True)
    for name in chosen:
        begun_s, begun = time.monotonic(), len(lines)
        for line in _lines_of(name, scale):
            lines.append(line)
            print(line, flush=True)
        if record:
            record_figures(name, occasion, lines[begun:])
        tell(f"{name}: {time.monotonic() - begun_s:.0f} s")
    if record:
        record_results(occasion, lines)
    missed = [line.name for line in lines if line.missed]
    if missed:
        tell(f"{len(missed)} missed: {'; '.join(missed)}")
    sys.exit(bool(missed))


def _lines_of(name: str, scale: Scale) -> Iterator[Line]:
    """The lines of one benchmark; where it breaks off, a last one says why, and the others still run."""
    benchmark: Benchmark = importlib.import_module(f"bench.{name}").run
    try:
        yield from benchmark(scale)
    except Exception as failed:
        traceback.print_exc()
        yield Line(name, absent=f"{type(failed).__name__}: {failed}".splitlines()[0], broke=True)


def _machine() -> str:
    """Cores, memory and Python: what the numbers depend on."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_cpu_name()}), {memory_gib:.0f} GiB, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _cpu_name() -> str:
    try:
        described = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in described.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
