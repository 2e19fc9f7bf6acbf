"""`callmeter demo`: everything on this machine, with made-up agent traces, shown as `callmeter top` does."""

import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from aggregator.time_units import HOUR_S, SECOND_US
from callmeter.commands.up import port_options, running
from callmeter.local.agent_traces import TimedEvent, agent_traces
from callmeter.local.overview import Overview, ask, curl, pasted_question, plain_line, question
from callmeter.local.processes import Processes
from callmeter.settings import Settings
from callmeter.top.asking import Api
from callmeter.top.keys import State
from callmeter.top.screen import Frame
from callmeter.top.view import View
from callmeter.top.watching import watch
from ingest.kafka.producer import DeliveryFailed, EventProducer

PROJECT = "demo/agents"
# The past that is told at once at the start, so that there is something to look at.
PAST_S = HOUR_S
STEP_S = 0.25
LOOK_EVERY_S = 1.0
LINE_EVERY_S = 5.0
EVENTS_PER_LOOK = 2_000
# A slow machine shows the table before all of the past is folded: it grows, and says how far behind it is.
FOLDING_S_MAX = 15.0
FOLDING = (
    SpinnerColumn(),
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TextColumn("events"),
    TimeRemainingColumn(),
)


@click.command()
@port_options
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the state there.  [default: a temporary directory, gone at the end]",
)
@click.option(
    "--calls-per-second",
    type=click.FloatRange(0.1, 2_000),
    default=20.0,
    show_default=True,
    help="Mean rate of the calls.",
)
@click.pass_obj
def demo(
    settings: Settings,
    port: int | None,
    kafka_port: int | None,
    redis_port: int | None,
    data_dir: Path | None,
    calls_per_second: float,
) -> None:
    """Run everything on this machine with made-up agent traces, and show what they cost, until Ctrl-C.

    Three agents, four models, retries after rate limits, and a provider that breaks down every third minute. The last
    hour is told first, then it goes on live. The numbers are asked from the api like any client would.
    """
    with (
        _directory(data_dir) as directory,
        running(settings, directory, port, kafka_port, redis_port, keep_state=data_dir is not None) as processes,
    ):
        now_us = time.time_ns() // 1_000
        stream = agent_traces(Random(), PROJECT, now_us - PAST_S * SECOND_US, calls_per_second)
        try:
            with EventProducer(processes.broker.address) as producer:
                _Show(processes, producer, stream).run()
        except DeliveryFailed as failed:
            processes.check()
            raise click.ClickException(str(failed)) from None


class _Show:
    """The stream, sent when it is due, and the table of what became of it."""

    def __init__(self, processes: Processes, producer: EventProducer, stream: Iterator[TimedEvent]) -> None:
        self._processes = processes
        self._producer = producer
        self._stream = stream
        self._next = next(stream)
        self._topic = processes.topics[0]
        self._console = Console()

    def run(self) -> None:
        """Go on until somebody ends it. Raises ChildFailed when one of the processes dies."""
        self._tell_the_past()
        self._introduce()
        if self._console.is_terminal and sys.stdin.isatty():
            url = self._processes.api_url
            frame = Frame(View(PROJECT), note=f"The same as a page: {url}   q ends the demo")
            watch(self._console, Api(url, None), State(frame, projects=(PROJECT,)), LOOK_EVERY_S, self._go_on)
            return
        shown_s = 0.0
        while True:
            self._go_on()
            if time.monotonic() - shown_s >= LINE_EVERY_S and (overview := self._overview()):
                shown_s = time.monotonic()
                click.echo(plain_line(overview, self._lag_messages()))
                sys.stdout.flush()
            time.sleep(STEP_S)

    def _go_on(self) -> None:
        """Send what is due; raises ChildFailed when one of the processes has died."""
        self._processes.check()
        self._send_due()

    def _tell_the_past(self) -> None:
        """Send what should have happened until now, and wait a while for it to be folded."""
        console = Console(stderr=True)
        with console.status("sending the last hour") as status:
            while self._send_due(EVENTS_PER_LOOK) == EVENTS_PER_LOOK:
                status.update(f"sending the last hour: {self._producer.delivered:,} events")
            self._producer.flush()
        events = self._producer.delivered
        click.echo(f"{events:,} events of the last hour are sent; folding them", err=True)
        until_s = time.monotonic() + FOLDING_S_MAX
        with Progress(*FOLDING, console=console, transient=True, disable=not console.is_terminal) as bar:
            folding = bar.add_task("folding", total=events)
            while time.monotonic() < until_s and (lag := self._lag_messages()) != 0:
                self._processes.check()
                if lag is not None:
                    bar.update(folding, completed=events - lag)
                time.sleep(STEP_S)

    def _introduce(self) -> None:
        url = self._processes.api_url
        click.echo(
            f"Look at it in a browser: {url} ({url}/docs tells what can be asked). Paste this to ask it yourself:\n"
        )
        click.echo(curl(url, pasted_question(PROJECT, datetime.now(UTC))) + "\n")
        click.echo(f"State and logs: {self._processes.directory}. Ctrl-C ends it all.")
        sys.stdout.flush()

    def _send_due(self, events_max: int | None = None) -> int:
        """Send the events whose time has come, `events_max` of them at most; how many it were."""
        now_us, sent = time.time_ns() // 1_000, 0
        while self._next.at_us <= now_us and sent != events_max:
            ((_, call),) = self._next.event.items()
            self._producer.produce(self._topic, call["trace_id"], msgspec.json.encode(self._next.event))
            self._next = next(self._stream)
            sent += 1
        self._producer.poll()
        return sent

    def _overview(self) -> Overview | None:
        try:
            return ask(self._processes.api_url, question(PROJECT, datetime.now(UTC)))
        except OSError:
            return None  # shown again when it answers; whether it lives is checked beside

    def _lag_messages(self) -> int | None:
        try:
            return self._processes.lag_messages()
        except OSError:
            return None


@contextmanager
def _directory(chosen: Path | None) -> Iterator[Path]:
    if chosen is not None:
        yield chosen
        return
    with tempfile.TemporaryDirectory(prefix="callmeter-demo-") as temporary:
        yield Path(temporary)
