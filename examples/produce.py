"""Sends a call to callmeter's topic: pip install confluent-kafka; python produce.py [BROKER [TOPIC]]."""

import json
import sys
import time
import uuid
from datetime import UTC, datetime

from confluent_kafka import Producer


def now() -> str:
    """Return the current instant, as RFC 3339."""
    return datetime.now(UTC).isoformat()


def main(broker: str = "127.0.0.1:9092", topic: str = "calls") -> None:
    """A start, some work, and its end."""
    producer = Producer({"bootstrap.servers": broker, "enable.idempotence": True})
    failures: list[str] = []

    def send(event: dict[str, dict[str, object]]) -> None:
        """Keyed by the project, so that a start and its end share a partition."""
        (fields,) = event.values()
        producer.produce(
            topic,
            json.dumps(event),
            str(fields["project_id"]),
            on_delivery=lambda error, _: failures.append(str(error)) if error else None,
        )

    call = {"project_id": "acme/agents", "id": str(uuid.uuid4())}
    send({"start": {**call, "op_name": "llm", "started_at": now()}})
    time.sleep(0.1)
    usage = {"gpt-4o": {"input_tokens": 1200, "output_tokens": 150, "cache_read_input_tokens": 1024}}
    send({"end": {**call, "ended_at": now(), "summary": {"usage": usage}}})
    if producer.flush(10) or failures:
        sys.exit(f"not delivered: {failures or 'no answer'}")
    sys.stdout.write(f"{call['id']}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
