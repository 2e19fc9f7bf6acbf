"""`callmeter gateway`: takes events from SDKs over HTTP until it is told to stop."""

import signal

import click

from api.access.basic_auth import ExposedWithoutKeys, check_exposure
from api.server import serve_app
from callmeter.garbage import collect_seldom
from callmeter.gateway_app import gateway_app
from callmeter.metrics.request_metrics import MeasuredApp
from callmeter.settings import Settings


@click.command()
@click.option("--host", help="Address to listen on.  [default: CALLMETER_GATEWAY__HOST]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Port to listen on.  [default: CALLMETER_GATEWAY__PORT]")
@click.option("--no-auth", is_flag=True, help="Take events without access keys; on a loopback address only.")
@click.pass_obj
def gateway(settings: Settings, host: str | None, port: int | None, no_auth: bool) -> None:
    """Take events from SDKs over HTTP and send them to Kafka, until SIGTERM or Ctrl-C.

    An answer of 200 means that the broker has acknowledged every event of the request. While Kafka is away it is 503,
    while too much waits for Kafka 429, both with Retry-After. Access keys need the scope `write`. The same routes are
    on the api's own address with `callmeter api --gateway`, and in `callmeter up`.

    \b
    callmeter keys create --name sdk --project acme/agents --scope write
    callmeter gateway --host 0.0.0.0 --port 8090
    WF_TRACE_SERVER_URL=http://gateway:8090 WANDB_API_KEY=<the key> python my_agent.py
    """
    host = settings.gateway.host if host is None else host
    port = settings.gateway.port if port is None else port
    auth = settings.gateway.auth and not no_auth
    try:
        check_exposure(host, auth)
    except ExposedWithoutKeys as exposed:
        raise click.UsageError(f"{exposed} Set CALLMETER_GATEWAY__AUTH=true, or listen there.") from None
    collect_seldom()
    # The server stops in order by itself and then raises the signal again; to have stopped when told is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        with gateway_app(settings, auth) as app:
            serve_app(MeasuredApp(app, "gateway"), host, port, settings.log.level)
    except OSError as taken:
        raise click.ClickException(f"cannot listen on {host}:{port}: {taken.strerror or taken}") from None
