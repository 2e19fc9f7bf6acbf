"""What a command says when Redis or Kafka cannot be reached, or is not as it must be: one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from confluent_kafka import KafkaException

from aggregator.store.shard_store import Fenced, OtherLayout, StoreAway, StoreFull
from callmeter.logs import redacted
from callmeter.settings import Settings


@contextmanager
def explained_failures(settings: Settings) -> Iterator[None]:
    """Raises click.ClickException instead of what the clients raise."""
    try:
        yield
    except KafkaException as away:
        raise click.ClickException(
            f"no Kafka broker answers at {settings.kafka.bootstrap_servers} (CALLMETER_KAFKA__BOOTSTRAP_SERVERS): "
            f"{_reason(away)}"
        ) from None
    except (*StoreAway, OSError):
        raise click.ClickException(
            f"no Redis answers at {redacted(settings.redis.url)} (CALLMETER_REDIS__URL)"
        ) from None
    except StoreFull:
        raise click.ClickException(f"Redis at {redacted(settings.redis.url)} has no memory left") from None
    except (OtherLayout, Fenced) as refused:
        raise click.ClickException(str(refused)) from None


def _reason(failed: KafkaException) -> str:
    error = failed.args[0]
    return error.str() if hasattr(error, "str") else str(error)
