"""Log lines: JSON where a program reads them, plain where a person does, never with a password."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from callmeter.logs import redacted, set_up_logging


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def test_json_lines() -> None:
    """Off a terminal, each line is an object with time, level, event and the fields; below the level nothing comes."""
    stream = io.StringIO()
    set_up_logging("info", stream)
    log = logging.getLogger("ingest.worker")
    log.debug("unheard")
    log.info("batch applied", extra={"messages": 5, "shard": ("calls", 0)})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "ingest.worker",
        "event": "batch applied",
        "messages": 5,
        "shard": "('calls', 0)",
    }


def test_a_traceback_stays_on_its_line() -> None:
    """An exception is a field of the line, not lines of their own."""
    stream = io.StringIO()
    set_up_logging("info", stream)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("x").exception("failed")
    assert stream.getvalue().count("\n") == 1
    assert "ValueError: two\nlines" in json.loads(stream.getvalue())["error"]


def test_a_terminal_gets_words() -> None:
    """A line on a terminal is the event and its fields; a warning says that it is one."""
    stream = Terminal()
    set_up_logging("info", stream)
    logging.getLogger("x").info("topic missing", extra={"topic": "calls"})
    logging.getLogger("x").warning("slow")
    first, second = stream.getvalue().splitlines()
    assert first.endswith(" topic missing  topic=calls")
    assert "warning: slow" in second


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("redis://user:hunter2@host:6379/0", "redis://user:***@host:6379/0"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("redis://host/0?password=hunter2&db=1", "redis://host/0?password=***&db=1"),
        ('{"sasl.password": "hunter2", "a": 1}', '{"sasl.password": "***", "a": 1}'),
        ("http://host:80/path@x", "http://host:80/path@x"),
        ("redis://:pa/ss@host:6379/0", "redis://:***@host:6379/0"),
        ("rediss://user:12/34 56@host", "rediss://user:***@host"),
        ("redis://user:p@ss@host, redis://:a b@other", "redis://user:***@host, redis://:***@other"),
        ("http://user:a b/c@host", "http://user:***@host"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_redacted(text: str, shown: str) -> None:
    """Passwords of URLs and of properties are starred out, and nothing else is."""
    assert redacted(text) == shown


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_no_password_in_a_line(stream: io.StringIO) -> None:
    """A password is hidden in the event, in a field and in a traceback."""
    set_up_logging("info", stream)
    try:
        raise ValueError("redis://:hunter2@host")
    except ValueError:
        logging.getLogger("x").exception("at %s", "redis://:hunter2@host", extra={"url": "redis://:hunter2@h"})
    assert "***" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
