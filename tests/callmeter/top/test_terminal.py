"""`callmeter top` and `callmeter demo` as a user sees them: in real terminals, against a real api."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest

from callmeter.local.loopback_port import free_loopback_port
from tests.callmeter.top.terminal import Terminal
from tests.page.history import PROJECT, call, now, past
from tests.pipeline.pipeline import Pipeline
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.terminal

CALLS_PER_SECOND = 1.0

# More than any op of the made-up history fails in an hour, so the op is first by errors.
FAILING = 600


@pytest.fixture(scope="module")
def running(
    bootstrap_servers: str, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """A worker that has folded an hour of traces, and goes on."""
    with Pipeline(tmp_path_factory.mktemp("service"), bootstrap_servers, redis_server.url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.produce(past(now(), CALLS_PER_SECOND))
        pipeline.start_worker()
        pipeline.wait_until_applied()
        yield pipeline


@pytest.fixture(scope="module")
def url(running: Pipeline) -> str:
    """Returns where an api of what runs answers."""
    return f"http://127.0.0.1:{running.start_api().port}"


def printed(*arguments: str) -> str:
    """Returns what the program prints where there is no terminal."""
    run = subprocess.run(
        [sys.executable, "-m", "callmeter", *arguments],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 50)])
def test_an_error_is_found_by_its_id(running: Pipeline, url: str, width: int, height: int) -> None:
    """An op that begins to fail is sorted to the top, gone into, and the newest failing call's whole id is read."""
    with Terminal(["top", PROJECT, "--url", url], width, height, {}) as terminal:
        lines = terminal.wait_for("llm.chat:v1", "failing calls", "behind")
        assert max(map(len, lines)) <= width
        assert len(lines) <= height
        assert all(part in lines[1] for part in ("calls ", "errors ", "p95 ", "tokens ", "cost $"))
        assert "q quit" in lines[-1]
        at = now()
        name = f"breaks-{width}"
        starts = [at + timedelta(milliseconds=number) for number in range(FAILING)]
        running.produce(
            call(name, begun, "ConnectionError: no route to host", id=f"{name}-{number:030}")
            for number, begun in enumerate(starts)
        )
        terminal.press("e")
        terminal.wait_for(f"› {name}" if width == 80 else name, f"{name}-{FAILING - 1:030}", "ERRORS↓")
        while not next(line for line in terminal.lines() if line.startswith("›")).startswith(f"› {name}"):
            terminal.press("Down")
            terminal.wait_for("›")
        terminal.press("Enter")
        totals = f"calls {FAILING}  errors {FAILING} 100%"
        narrowed = terminal.wait_for(f"by user  op:{name}:v1", totals, f"{name}-{FAILING - 1:030}")
        assert totals in narrowed[1]
        assert any(f"{name}-{FAILING - 1:030}" in line and "ConnectionError" in line for line in narrowed)
        terminal.press("BSpace")
        terminal.wait_for("── by op ──", "llm.chat:v1")


def test_keys_and_sizes(url: str) -> None:
    """Dimensions, filters, the help and a window that changes its size; `q` gives the terminal back."""
    with Terminal(["top", PROJECT, "--url", url, "--by", "user"], 80, 24, {}) as terminal:
        terminal.wait_for("user-01", "by user")
        terminal.press("m")
        terminal.wait_for("claude-sonnet-4", "by model", without=["user-01"])
        terminal.press("o", "/")
        terminal.wait_for("/█")
        terminal.press(*"tool.", "Enter")
        terminal.wait_for("tool.search:v1", "holding 'tool.'", without=["llm.chat:v1  "])
        terminal.press("Escape")
        terminal.wait_for("llm.chat:v1", without=["holding"])
        terminal.press("?")
        terminal.wait_for("into the row: only its calls")
        terminal.press("x")
        terminal.resize(120, 30)
        lines = terminal.wait_for("llm.chat:v1", "P50")
        assert len(lines) <= 30
        terminal.press("q")
        terminal.wait_for("ended: 0", without=["llm.chat"])


def test_pipes(url: str) -> None:
    """A pipe gets one look, without colours, with all rows; `--json` is one object a line."""
    text = printed("top", PROJECT, "--url", url)
    assert "\x1b" not in text
    assert all(op in text for op in ("llm.chat:v1", "support.run:v1", "tool.fetch_page:v1"))
    look = json.loads(printed("top", PROJECT, "--url", url, "--once", "--json", "--by", "model"))
    assert (look["project_id"], look["project_known"], look["dimension"]) == (PROJECT, True, "model")
    assert {row["value"] for row in look["rows"]} >= {"gpt-4o", "claude-sonnet-4"}
    assert look["total"]["sum_error_count"] > 0
    assert look["lag_seconds"] < 60


def test_what_does_not_answer(url: str) -> None:
    """An address where nothing answers ends in a sentence; a project that is unknown is told, and is no quiet one."""
    arguments = [sys.executable, "-m", "callmeter", "top", "--url", f"http://127.0.0.1:{free_loopback_port()}"]
    run = subprocess.run(arguments, capture_output=True, text=True, env={}, timeout=60, check=False)
    assert run.returncode == 1
    assert "no api answers at http://127.0.0.1:" in run.stderr
    assert "Traceback" not in run.stderr
    assert "UNKNOWN PROJECT" in printed("top", "acme/agnets", "--url", url)


def test_the_demo_in_a_small_terminal() -> None:
    """The demo shows the same: newest and worst are seen in 80x24, with the page's address; `q` ends all of it."""
    port = free_loopback_port()
    with Terminal(["demo", "--port", str(port), "--calls-per-second", "2"], 80, 24, {}) as terminal:
        lines = terminal.wait_for("demo/agents", "llm.chat:v1", "p95", f"http://127.0.0.1:{port}")
        assert len(lines) <= 24
        terminal.press("q")
        terminal.wait_for("ended: 0", f"curl -s http://127.0.0.1:{port}")
