"""What a command says when Redis or Kafka cannot be reached, or is not as it must be: one sentence."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

import click
from confluent_kafka import KafkaError, KafkaException

from aggregator.objects.object_store import ObjectStoreAway
from aggregator.store.connection import StoreRefusesName
from aggregator.store.shard_store import Fenced, OtherLayout, StoreAway, StoreFull
from callmeter.logs import redacted
from callmeter.settings import Settings

# Different lines remembered to know the next of the same kind; 0.3 kB each.
CLIENT_LINES_MAX = 1_000
# `rdkafka#consumer-3`, and `(after 2ms in state CONNECT, 1 identical error(s) suppressed)`.
_VARYING = re.compile(r"(?<=rdkafka#)\w+-\d+|\(after .*$")


@contextmanager
def explained_failures(settings: Settings) -> Iterator[None]:
    """Raises click.ClickException instead of what the clients raise; what the Kafka client logs is logged once."""
    handlers = logging.getLogger().handlers[:]
    once = _ClientLinesOnce()
    for lines in handlers:
        lines.addFilter(once)
    try:
        yield
    except KafkaException as away:
        raise click.ClickException(kafka_trouble(settings, away)) from None
    except StoreRefusesName as refused:
        raise click.ClickException(
            f"Redis at {redacted(settings.redis.url)} refused the user or the password of CALLMETER_REDIS__URL: "
            f"{refused}"
        ) from None
    except ObjectStoreAway as away:
        raise click.ClickException(str(away)) from None
    except (*StoreAway, OSError):
        raise click.ClickException(
            f"no Redis answers at {redacted(settings.redis.url)} (CALLMETER_REDIS__URL)"
        ) from None
    except StoreFull:
        raise click.ClickException(f"Redis at {redacted(settings.redis.url)} has no memory left") from None
    except (OtherLayout, Fenced) as refused:
        raise click.ClickException(str(refused)) from None
    finally:
        for lines in handlers:
            lines.removeFilter(once)


class _ClientLinesOnce(logging.Filter):
    """Lets each line of the Kafka client through once: it repeats them for every try, before the sentence that counts.

    Lines that differ in the client's number, or in how long something took, are the same.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        line = record.getMessage()
        if "[thrd:" not in line:
            return True
        same = _VARYING.sub("", line)
        if same in self._seen:
            return False
        # A client tells of some kinds of trouble with each of some brokers; a long run must not gather them for ever.
        if len(self._seen) < CLIENT_LINES_MAX:
            self._seen.add(same)
        return True


def kafka_trouble(settings: Settings, failed: KafkaException) -> str:
    """Return one sentence; what the client refuses before it asks any broker is a setting that is wrong."""
    reason, error = _reason(failed), failed.args[0]
    if isinstance(error, KafkaError) and error.code() in (KafkaError._INVALID_ARG, KafkaError._CONFLICT):
        return f"CALLMETER_KAFKA__EXTRA is not as the Kafka client needs it: {reason}"
    return (
        f"no Kafka broker answers at {settings.kafka.bootstrap_servers} (CALLMETER_KAFKA__BOOTSTRAP_SERVERS): {reason}"
    )


def _reason(failed: KafkaException) -> str:
    error = failed.args[0]
    return error.str() if hasattr(error, "str") else str(error)
