"""`callmeter api`: answers over HTTP until it is told to stop."""

import logging
import os
import signal
import socket
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import click
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from aggregator.store.connection import connect
from aggregator.store.shard_store import StoreAway
from api.access.basic_auth import ExposedWithoutKeys, check_exposure, wall_clock_us
from api.endpoints import Processes
from api.server import ServerSettings, listen_together, serve
from callmeter.garbage import collect_seldom
from callmeter.gateway_app import gateway_app, on_one_address
from callmeter.logs import redacted
from callmeter.metrics.request_metrics import MeasuredApp
from callmeter.metrics.shared_values import sharing_values
from callmeter.metrics.work_metrics import StoreMetrics
from callmeter.object_store import kept_on_disk, opened_store
from callmeter.settings import Settings
from callmeter.supervision import ProcessCounts, supervise

log = logging.getLogger(__name__)


@click.command()
@click.option("--host", help="Address to listen on.  [default: CALLMETER_API__HOST]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on.  [default: CALLMETER_API__PORT]")
@click.option(
    "--workers",
    type=click.IntRange(0, 64),
    help="Processes that answer together; 0: one for each core.  [default: CALLMETER_API__WORKERS]",
)
@click.option("--no-auth", is_flag=True, help="Answer without access keys; on a loopback address only.")
@click.option("--gateway", is_flag=True, help="Take events from SDKs on the same address (see `callmeter gateway`).")
@click.pass_obj
def api(
    settings: Settings, host: str | None, port: int | None, workers: int | None, no_auth: bool, gateway: bool
) -> None:
    """Answer questions over HTTP (/calls/stats, /calls/usage and more; see /docs) and serve the page, until SIGTERM.

    Clients need an access key (see `callmeter keys`). Without keys, by --no-auth or CALLMETER_API__AUTH=false, the api
    listens on a loopback address only. While Redis cannot be reached it answers 503, and answers again by itself.

    \b
    callmeter keys create --name dashboards --all-projects
    callmeter api --host 0.0.0.0 --port 8080
    callmeter api --workers 1   # one process; usually there is one for each core
    callmeter api --no-auth     # on this machine only
    callmeter api --gateway     # one address for what SDKs send and ask
    """
    host = settings.api.host if host is None else host
    port = settings.api.port if port is None else port
    workers = (settings.api.workers if workers is None else workers) or len(os.sched_getaffinity(0))
    opened_store(settings)  # a wrong one ends the api here, not each of its processes
    _say_if_redis_is_away(settings)
    collect_seldom()
    auth = settings.api.auth and not no_auth
    served = partial(_serve, settings, host, port, auth, gateway, workers)
    # The server stops in order by itself and then raises the signal again; to have stopped when told is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        check_exposure(host, auth)
        sockets = listen_together(host, port, workers)
        if workers == 1:
            served(None, sockets[0], None)
        else:
            with sharing_values() as directory:
                if not supervise([partial(served, directory, one) for one in sockets]):
                    raise SystemExit(1)
    except ExposedWithoutKeys as exposed:
        raise click.UsageError(f"{exposed} Set CALLMETER_API__AUTH=true, or listen there.") from None
    except OSError as taken:
        raise click.ClickException(f"cannot listen on {host}:{port}: {taken.strerror or taken}") from None


def _serve(
    settings: Settings,
    host: str,
    port: int,
    auth: bool,
    gateway: bool,
    workers: int,
    shared_values: Path | None,
    listening: socket.socket,
    process_counts: ProcessCounts | None,
) -> None:
    """Answer on a socket, alone or as one of several processes, until told to stop."""
    fixed_now_us = settings.now_us()
    registry = CollectorRegistry()
    metrics = StoreMetrics(registry, "api")
    with gateway_app(settings, auth) if gateway else nullcontext() as door:
        serve(
            ServerSettings(
                host=host,
                port=port,
                redis_url=settings.redis.url,
                redis_cluster=settings.redis.cluster,
                namespace=settings.redis.namespace,
                retention=settings.retention.kept(),
                auth=auth,
                keyed_by_project=settings.kafka.keyed_by == "project",
                kept_bytes_max=settings.api.kept_bytes_max // workers,
                call_link=settings.link.call,
                keys=settings.keys,
                clock=wall_clock_us if fixed_now_us is None else lambda: fixed_now_us,
                # Where the clock stands still, nothing grows old by it.
                stale_s_max=settings.api.stale_s_max if fixed_now_us is None else 0,
                objects=kept_on_disk(metrics.counted(opened_store(settings)), settings),
                on_round_trip=metrics.note_round_trip,
            ),
            settings.log.level,
            partial(_measured, door, shared_values, registry),
            listening,
            None if process_counts is None else lambda: Processes(process_counts.wanted, process_counts.running),
        )


def _measured(door: ASGIApp | None, shared_values: Path | None, registry: CollectorRegistry, app: ASGIApp) -> ASGIApp:
    """The api's app, with the gateway's beside it where there is one, and both counted."""
    return MeasuredApp(app if door is None else on_one_address(door, app), "api", shared_values, registry)


def _say_if_redis_is_away(settings: Settings) -> None:
    try:
        connect(settings.redis.url, settings.redis.cluster).ping()
    except StoreAway as away:
        url = redacted(settings.redis.url)
        log.warning("Redis cannot be reached; answering 503 until it can", extra={"url": url, "why": str(away)})
