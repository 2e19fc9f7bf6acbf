"""`callmeter up`: broker, Redis, worker and api together on this machine, until Ctrl-C."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn, TypeVar

import click
from rich.console import Console

from callmeter.local.child_process import ChildFailed
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from callmeter.local.processes import Processes
from callmeter.settings import Settings

API_PORT = 8080
KAFKA_PORT = 9092
REDIS_PORT = 6379
CHECK_S = 0.5

AnyCommand = TypeVar("AnyCommand", bound=Callable[..., object])


def port_options(command: AnyCommand) -> AnyCommand:
    """`--port`, `--kafka-port`, `--redis-port`: None where not given."""
    for option, what, usual in (
        ("--redis-port", "Redis", REDIS_PORT),
        ("--kafka-port", "the Kafka broker", KAFKA_PORT),
        ("--port", "the api", API_PORT),
    ):
        text = f"Port of {what}.  [default: {usual}, or a free one if that is taken]"
        command = click.option(option, type=click.IntRange(1, 65_535), help=text)(command)
    return command


@click.command()
@port_options
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".callmeter"),
    show_default=True,
    help="Where the state and the logs are kept.",
)
@click.pass_obj
def up(settings: Settings, port: int | None, kafka_port: int | None, redis_port: int | None, data_dir: Path) -> None:
    """Run broker, Redis, worker and api on this machine's loopback, until Ctrl-C.

    For trying out and for developing: one command, nothing to install. What the worker has folded is kept in the data
    directory and is there again at the next start. The broker keeps its messages in memory only: they are folded
    before it stops, and its topics begin anew, under the same names, at the next start.
    """
    with running(settings, data_dir, port, kafka_port, redis_port) as processes:
        click.echo(_addresses(processes))
        while True:
            processes.check()
            time.sleep(CHECK_S)


@contextmanager
def running(
    settings: Settings,
    data_dir: Path,
    api_port: int | None,
    kafka_port: int | None,
    redis_port: int | None,
    keep_state: bool = True,
) -> Iterator[Processes]:
    """The processes, started; ended in order whatever happens. Ctrl-C and SIGTERM end the block quietly."""
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell ignores it for what runs in the background
        signal.signal(number, _interrupt)
    console = Console(stderr=True)
    ports = (
        _choose_port("the api", api_port, API_PORT),
        _choose_port("the Kafka broker", kafka_port, KAFKA_PORT),
        _choose_port("Redis", redis_port, REDIS_PORT),
    )
    try:
        processes = Processes(data_dir.absolute(), settings, *ports)
    except ChildFailed as failed:
        raise click.ClickException(str(failed)) from None
    try:
        with console.status("starting") as status:
            processes.start(status.update if console.is_terminal else partial(click.echo, err=True))
        yield processes
    except KeyboardInterrupt:
        pass
    except ChildFailed as failed:
        raise click.ClickException(str(failed)) from None
    finally:
        with console.status("stopping") as status:
            processes.stop(status.update, keep_state)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _choose_port(what: str, asked: int | None, usual: int) -> int:
    """The port asked for, else the usual one if it is free, else any free one, and says so."""
    if _is_free(asked or usual):
        return asked or usual
    if asked is not None:
        raise click.ClickException(f"port {asked}, asked for {what}, is taken on {LOOPBACK}")
    free = free_loopback_port()
    click.echo(f"Port {usual} is taken; {what} gets {free}.", err=True)
    return free


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: the connections of one that has just stopped do not count as taking the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _addresses(processes: Processes) -> str:
    return f"""callmeter is up.

  api     {processes.api_url}   (what it answers: {processes.api_url}/docs)
  SDKs    {processes.api_url}   Weave's, OpenTelemetry's (/v1/traces), LiteLLM's (/litellm)
  Kafka   {processes.broker.address}   topic {", ".join(processes.topics)}; in memory, empty at every start
  Redis   {processes.redis.url}
  state   {processes.directory}   kept from one start to the next, logs too

Send events and look how far they are:

  export CALLMETER_KAFKA__BOOTSTRAP_SERVERS={processes.broker.address} CALLMETER_REDIS__URL={processes.redis.url}
  callmeter produce events.jsonl
  callmeter status

Ctrl-C ends it."""
