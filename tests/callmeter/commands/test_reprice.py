"""`callmeter reprice` as a program: other prices for what is counted, while a worker goes on."""

import json
import uuid
from pathlib import Path
from typing import Any

from tests.callmeter.commands.programs import NOW, callmeter, environment, lines, status, until, worker
from tests.servers.kafka_server import create_topic

CALLS = 600


def complete(number: int, model: str) -> dict[str, Any]:
    """A call that has used a million input tokens."""
    ids = {"project_id": "acme", "id": f"call-{number}", "op_name": "op", "started_at": NOW, "ended_at": NOW}
    return {"complete": ids | {"summary": {"usage": {model: {"input_tokens": 1_000_000, "output_tokens": 0}}}}}


def test_other_prices(bootstrap_servers: str, redis_url: str, tmp_path: Path) -> None:
    """The command shows what would change and changes nothing; with --yes it does, beside a worker; then there is
    nothing to do."""
    topic = f"reprice-{uuid.uuid4().hex}"
    create_topic(bootstrap_servers, topic, 1)
    prices = tmp_path / "prices.yaml"
    variables = environment(bootstrap_servers, redis_url, topic) | {
        "CALLMETER_PRICES_FILE": str(prices),
        "CALLMETER_REDIS__NAMESPACE": topic,
    }
    prices.write_text("prices:\n  - {model: mine, input: 2, output: 8}\n")
    calls = [complete(number, "mine" if number % 3 else "new") for number in range(CALLS)]
    with worker(variables, tmp_path / "worker.log"):
        callmeter(variables, "produce", "-", text=lines(*calls))
        until(lambda: status(variables)["calls"] == CALLS)
        prices.write_text("prices:\n  - {model: mine, input: 3, output: 8}\n  - {model: new, input: 1, output: 1}\n")
        shown = json.loads(callmeter(variables, "reprice", "--json"))
        assert [
            (row["model"], row["calls"], row["usd_before"], row["usd_after"], row["unpriced_before"]) for row in shown
        ] == [("mine", 400, 800.0, 1_200.0, 0), ("new", 200, 0.0, 200.0, 200)]
        assert status(variables)["unpriced"] == 200
        said = callmeter(variables, "reprice", "--yes")
        assert "600 calls have another cost now." in said
        assert status(variables)["unpriced"] == 0
        callmeter(variables, "produce", "-", text=lines(*calls))  # the worker goes on: all of them are repeats
        until(lambda: status(variables)["lag_messages"] == 0)
        assert "Every call costs what it was counted with." in callmeter(variables, "reprice")
    assert json.loads(callmeter(variables, "prices", "--json")) == []
    window = ("--start", NOW[:10] + "T00:00:00Z", "--end", NOW[:10] + "T23:59:00Z")
    assert "no difference" in callmeter(variables, "verify", "--project", "acme", "--tree", *window).lower()
