"""The gateway with all that it needs, from the settings: alone, or on the api's address."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from aggregator.access.key_ring import KeyRing
from aggregator.access.stated_keys import StatedKeys
from aggregator.store.connection import connect_readers
from aggregator.store.key_store import AsyncKeyStore
from api.access.basic_auth import wall_clock_us
from callmeter.settings import Settings
from ingest.dead_letters import DeadLetterTopic
from ingest.http.app import PATHS, GatewayLimits, make_gateway
from ingest.http.sending import Sending
from ingest.http.writers import KeyedWriters, OpenWriters, Writers
from ingest.kafka.acknowledged import AcknowledgedProducer
from ingest.kafka.message_key import MessageKeys


@contextmanager
def gateway_app(settings: Settings, auth: bool) -> Iterator[ASGIApp]:
    """The app, which writes to the first of the topics; what is under way is delivered at the end."""
    kafka = settings.kafka
    producer = AcknowledgedProducer(kafka.bootstrap_servers, kafka.topics[0], kafka.extra)
    letters = DeadLetterTopic(kafka.bootstrap_servers, kafka.dead_letter_topic, kafka.extra)
    sending = Sending(producer, letters, MessageKeys(settings.gateway.keyed_by), wall_clock_us)
    try:
        yield make_gateway(sending, _writers(settings, auth), GatewayLimits(default_project=settings.default_project))
    finally:
        producer.close()


def on_one_address(gateway: ASGIApp, api: ASGIApp) -> ASGIApp:
    """One app of both: the gateway's paths go to the gateway, all others to the api."""

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        is_sent = scope["type"] == "http" and PATHS.fullmatch(scope["path"]) is not None
        await (gateway if is_sent else api)(scope, receive, send)

    return either


def _writers(settings: Settings, auth: bool) -> Writers:
    if not auth:
        return OpenWriters()
    client = connect_readers(settings.redis.url, settings.redis.cluster)
    keys = StatedKeys(settings.keys, AsyncKeyStore(client, settings.redis.namespace))
    return KeyedWriters(KeyRing(keys, wall_clock_us))
