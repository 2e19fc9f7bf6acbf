"""The api as a process: an HTTP server around the app, until it is told to stop."""

import logging
import socket
from collections.abc import Callable
from functools import partial

import msgspec
import uvicorn
from starlette.types import ASGIApp

from aggregator.rollups.levels import Retention
from aggregator.store.connection import connect_readers
from aggregator.store.key_store import AsyncKeyStore
from aggregator.store.reader import StoreReader
from api.access.basic_auth import Access, KeyAccess, OpenAccess, check_exposure, wall_clock_us
from api.app import ApiSettings, make_app
from api.http.connection import Connection, ConnectionLimits, OpenConnections
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


class ServerSettings(msgspec.Struct, frozen=True):
    """Where to listen, what to read, who may ask.

    `call_link`: see `link_by`. `clock`: the `now` of all answers, in µs since the epoch.
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
    clock: Callable[[], int] = wall_clock_us


def serve(settings: ServerSettings, log_level: str, beside: Callable[[ASGIApp], ASGIApp] | None = None) -> None:
    """Answer until SIGTERM or SIGINT. Raises ExposedWithoutKeys, and OSError where the address cannot be had.

    `beside` puts another app on the same address: of the api's app it makes the one that is served.
    """
    check_exposure(settings.host, settings.auth)
    client = connect_readers(settings.redis_url, settings.redis_cluster)
    reader = StoreReader(client, settings.namespace, settings.keyed_by_project)
    access: Access = KeyAccess(AsyncKeyStore(client, settings.namespace)) if settings.auth else OpenAccess()
    answers = StoreAnswers(
        reader, settings.retention, wall_clock_us, settings.kept_bytes_max, link_by(settings.call_link)
    )
    numbers = partial(StoreNumbers, reader, settings.retention)
    api_settings = ApiSettings(clock=settings.clock, loopback_names_only=not settings.auth)
    app = make_app(answers, access, api_settings, numbers)
    serve_app(app if beside is None else beside(app), settings.host, settings.port, log_level)


def serve_app(app: ASGIApp, host: str, port: int, log_level: str) -> None:
    """Serve any app until SIGTERM or SIGINT, within the limits of connections. Raises OSError for the address."""
    config = http_config(app, connection_limits(), log_level)
    listening = _listen(host, port)
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


def _listen(host: str, port: int) -> socket.socket:
    """Bind before the server starts, so that an address that is taken is an error of ours to word."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError:
        listening.close()
        raise
    listening.setsockopt(socket.SOL_TCP, socket.TCP_NODELAY, 1)
    return listening
