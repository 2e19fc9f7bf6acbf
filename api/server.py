"""The api as a process: an HTTP server around the app, until it is told to stop."""

import socket
from collections.abc import Callable

import msgspec
import uvicorn

from aggregator.key_store import AsyncKeyStore
from aggregator.levels import Retention
from aggregator.redis_connection import connect_readers
from aggregator.store_reader import StoreReader
from api.access import Access, KeyAccess, OpenAccess, check_exposure, wall_clock_us
from api.answers import StoreAnswers
from api.app import ApiSettings, make_app

# Connections beyond this get 503 at once instead of slowing down everyone.
CONNECTIONS_MAX = 10_000
# An idle dashboard asks again within a minute; a connection kept longer is likely gone.
IDLE_CONNECTION_S_MAX = 75
# Answers under way when the api is told to stop may take so long to finish.
STOP_S_MAX = 5


class ServerSettings(msgspec.Struct, frozen=True):
    """Where to listen, what to read, who may ask. `clock`: the `now` of all answers, in µs since the epoch."""

    host: str
    port: int
    redis_url: str
    redis_cluster: bool
    namespace: str
    retention: Retention
    auth: bool
    clock: Callable[[], int] = wall_clock_us


def serve(settings: ServerSettings, log_level: str) -> None:
    """Answer until SIGTERM or SIGINT. Raises ExposedWithoutKeys, and OSError where the address cannot be had."""
    check_exposure(settings.host, settings.auth)
    client = connect_readers(settings.redis_url, settings.redis_cluster)
    reader = StoreReader(client, settings.namespace)
    access: Access = KeyAccess(AsyncKeyStore(client, settings.namespace)) if settings.auth else OpenAccess()
    answers = StoreAnswers(reader, settings.retention, wall_clock_us)
    app = make_app(answers, access, ApiSettings(clock=settings.clock))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,  # logging is set up once, by whoever starts the process
        log_level=log_level,
        access_log=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=IDLE_CONNECTION_S_MAX,
        timeout_graceful_shutdown=STOP_S_MAX,
        server_header=False,
        lifespan="off",
    )
    listening = _listen(settings.host, settings.port)
    try:
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()


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
