"""`python -m tests.chaos`: runs the scenarios, says what happens, sums up at the end; exit status 1 if one failed."""

import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import NamedTuple

import click

from tests.chaos.scenarios import SCENARIOS, WITHOUT_LOAD
from tests.chaos.stage import Stage
from tests.chaos.workload import Workload
from tests.servers.kafka_server import KafkaServer

EVENTS, EVENTS_SHORT = 100_000, 3_000


class Outcome(NamedTuple):
    """One line of the summary."""

    name: str
    done: str
    messages: int
    duration_s: float
    passed: bool


@click.command(context_settings={"show_default": True})
@click.option("--seed", default=1, help="Another seed, other messages and other moments.")
@click.option("--events", type=click.IntRange(1_000), help="Events per scenario [default: 100000, or 3000 if short].")
@click.option("--only", multiple=True, type=click.Choice(list(SCENARIOS)), help="Only this one; may come again.")
@click.option("--short", is_flag=True, help="Fewer repetitions.")
@click.option("--table", type=click.Path(dir_okay=False, path_type=Path), help="Write the summary as Markdown as well.")
def main(seed: int, events: int | None, only: tuple[str, ...], short: bool, table: Path | None) -> None:
    """Break everything that can break under constant load, and compare the answers with the brute force."""
    with _directory() as directory:
        workload = Workload(seed, events or (EVENTS_SHORT if short else EVENTS))
        click.echo(f"seed {seed}: {len(workload.lines)} messages, {workload.invalid_lines} of them no events")
        kafka = KafkaServer(directory / "kafka")
        kafka.start()
        outcomes = []
        for name in only or SCENARIOS:
            stage = Stage(workload, kafka, directory / name, Random(f"{seed}/{name}"), short, _sayer(name))
            outcomes.append(_run(name, stage))
            if table is not None:  # after each: a run that is stopped has shown what it has
                table.write_text(_markdown(outcomes))
        _summarise(outcomes)
        kafka.kill()
        if not all(outcome.passed for outcome in outcomes):
            sys.exit(1)
        shutil.rmtree(directory)


def _run(name: str, stage: Stage) -> Outcome:
    stage.directory.mkdir()
    began_s = time.monotonic()
    try:
        done, passed = SCENARIOS[name](stage), True
    except Exception as failed:
        click.echo(traceback.format_exc(), err=True)
        done, passed = f"{type(failed).__name__}: {str(failed).strip().splitlines()[0][:100]}", False
    messages = 0 if name in WITHOUT_LOAD else len(stage.workload.lines)
    return Outcome(name, done, messages, time.monotonic() - began_s, passed)


def _sayer(name: str) -> Callable[[str], None]:
    began_s = time.monotonic()

    def say(what: str) -> None:
        click.echo(f"{time.monotonic() - began_s:7.1f} s  {name}: {what}")

    return say


@contextmanager
def _directory() -> Iterator[Path]:
    """Logs and data of the run; left where they are when something failed."""
    directory = Path(tempfile.mkdtemp(prefix="chaos-"))
    click.echo(f"logs in {directory}")
    yield directory


def _summarise(outcomes: list[Outcome]) -> None:
    width = max(len(outcome.name) for outcome in outcomes)
    click.echo()
    for outcome in outcomes:
        result = "passed" if outcome.passed else "FAILED"
        amounts = f"{outcome.messages:7,} messages  {outcome.duration_s:5.0f} s"
        click.echo(f"{outcome.name:{width}}  {result}  {amounts}  {outcome.done}")


def _markdown(outcomes: list[Outcome]) -> str:
    """A table, each row with the command that produces it."""
    rows = ["| what was done | messages | result | `make chaos CHAOS_ARGS=...` |", "|---|---|---|---|"]
    for outcome in outcomes:
        result = "all answers right" if outcome.passed else "FAILED"
        messages = f"{outcome.messages:,}" if outcome.messages else "the golden ones"
        rows.append(f'| {outcome.done} | {messages} | {result} | `"--only {outcome.name}"` |')
    return "\n".join([*rows, ""])


if __name__ == "__main__":
    main()
