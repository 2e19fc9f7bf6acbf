"""The api as a process: an HTTP server around the app, until it is told to stop."""

import logging
import socket
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp

from aggregator.access.key import AccessKey
from aggregator.access.stated_keys import StatedKeys
from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
from aggregator.rollups.levels import Retention
from aggregator.store.connection import OnRoundTrip, connect_readers
from aggregator.store.key_store import AsyncKeyStore
from aggregator.store.reader import StoreReader
from api.access.basic_auth import Access, KeyAccess, OpenAccess, check_exposure, wall_clock_us
from api.app import ApiSettings, make_app
from api.endpoints import Processes
from api.http.connection import Connection, ConnectionLimits, OpenConnections
from api.http.loopback_names import LoopbackNamesOnly
from api.http.open_files import allow_open_files
from api.prometheus.store_numbers import StoreNumbers
from api.query.answers import StoreAnswers
from api.query.bucket_cache import KEPT_BYTES_MAX
from api.query.examples_answer import link_by

log = logging.getLogger(__name__)

# Files that are no connections of clients: those to Redis, libraries, the log; and those just being taken in.
OTHER_FILES_MAX = 500
CONNECTIONS_MIN = 10
# Answers under way when the api is told to stop may take so long to finish.
STOP_S_MAX = 5
# How long a thread that makes rows may keep Python to itself while the event loop wants to go on; Python's own 5 ms
# would be added to every wait of a cheap question.
SWITCH_INTERVAL_S = 0.0005
# Connections that wait to be taken in; uvicorn's own number.
CONNECTIONS_TO_TAKE_MAX = 2_048


class ServerSettings(msgspec.Struct, frozen=True):
    """Where to listen, what to read, who may ask.

    `call_link`: see `link_by`. `clock`: the `now` of all answers, in µs since the epoch. `stale_s_max`: see
    `readiness_of`. `objects`: where sealed rollups are that Redis does not hold. `on_round_trip`: see
    `OnRoundTrip`.
    """

    host: str
    port: int
    redis_url: str
    redis_cluster: bool
    namespace: str
    retention: Retention
    auth: bool
    keyed_by_project: bool = False
    kept_bytes_max: int = KEPT_BYTES_MAX
    call_link: str = ""
    keys: tuple[AccessKey, ...] = ()
    clock: Callable[[], int] = wall_clock_us
    stale_s_max: int = 0
    objects: ObjectStore | None = None
    on_round_trip: OnRoundTrip = None


def serve(
    settings: ServerSettings,
    log_level: str,
    beside: Callable[[ASGIApp], ASGIApp] | None = None,
    listening: socket.socket | None = None,
    processes: Callable[[], Processes] | None = None,
) -> None:
    """Answer until SIGTERM or SIGINT. Raises ExposedWithoutKeys, and OSError where the address cannot be had.

    `beside` puts another app on the same address: of the api's app it makes the one that is served. `listening`: the
    address, where it is had already (see `listen`). `processes`: what health says of those that answer on it together.
    """
    check_exposure(settings.host, settings.auth)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    client, reader = _open_reader(settings)
    keys = StatedKeys(settings.keys, AsyncKeyStore(client, settings.namespace))
    access: Access = KeyAccess(keys) if settings.auth else OpenAccess()
    answers = StoreAnswers(
        reader, settings.retention, wall_clock_us, settings.kept_bytes_max, link_by(settings.call_link)
    )
    # Queries of Prometheus have an event loop of their own, and connections belong to one.
    numbers = partial(StoreNumbers, _open_reader(settings)[1], settings.retention)
    api_settings = ApiSettings(clock=settings.clock, processes=processes, stale_s_max=settings.stale_s_max)
    api: ASGIApp = make_app(answers, access, api_settings, numbers)
    app = api if beside is None else beside(api)
    serve_app(app if settings.auth else LoopbackNamesOnly(app), settings.host, settings.port, log_level, listening)


def _open_reader(settings: ServerSettings) -> tuple[Any, StoreReader]:
    """Return connections to Redis and a reader on them, for one event loop."""
    client = connect_readers(settings.redis_url, settings.redis_cluster, settings.on_round_trip)
    frames = FrameCache(settings.objects)
    return client, StoreReader(client, settings.namespace, settings.keyed_by_project, frames)


def serve_app(app: ASGIApp, host: str, port: int, log_level: str, listening: socket.socket | None = None) -> None:
    """Serve any app until SIGTERM or SIGINT, within the limits of connections. Raises OSError for the address."""
    config = http_config(app, connection_limits(), log_level)
    listening = listen(host, port) if listening is None else listening
    bound = listening.getsockname()[1]  # of port 0 it is another one
    log.info("listening", extra={"url": f"http://{host if '[' in host or ':' not in host else f'[{host}]'}:{bound}"})
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


def connection_limits() -> ConnectionLimits:
    """The limits, with no more connections than this process may have files open; says so where those are few."""
    limits = ConnectionLimits()
    files_max = allow_open_files(limits.connections_max + OTHER_FILES_MAX)
    fitting = max(CONNECTIONS_MIN, files_max - OTHER_FILES_MAX)
    if fitting < limits.connections_max:
        log.warning(
            "the limit of open files allows few connections; raise it (ulimit -Hn, LimitNOFILE)",
            extra={"open_files_max": files_max, "connections_max": fitting},
        )
        limits = msgspec.structs.replace(limits, connections_max=fitting)
    return limits


def http_config(app: ASGIApp, limits: ConnectionLimits, log_level: str) -> uvicorn.Config:
    """How to serve the app."""
    return uvicorn.Config(
        app,
        http=partial(Connection, open_connections=OpenConnections(limits)),  # type: ignore[arg-type]  # called, never derived from
        log_config=None,  # logging is set up once, by whoever starts the process
        log_level=log_level,
        access_log=False,
        timeout_graceful_shutdown=STOP_S_MAX,
        server_header=False,
        lifespan="off",
    )


def listen_together(host: str, port: int, sockets: int) -> list[socket.socket]:
    """Sockets on one address, among which the system shares out connections. Raises OSError.

    Whoever makes them keeps them open: then what waits for a process that has ended is taken by the one that is
    started instead.
    """
    first = listen(host, port, shared=sockets > 1)
    others = [listen(host, first.getsockname()[1], shared=True) for _ in range(sockets - 1)]
    for one in (first, *others):
        one.listen(CONNECTIONS_TO_TAKE_MAX)
    return [first, *others]


def listen(host: str, port: int, shared: bool = False) -> socket.socket:
    """Bind before the server starts, so that an address that is taken is an error of ours to word."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError:
        listening.close()
        raise
    listening.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
    return listening
