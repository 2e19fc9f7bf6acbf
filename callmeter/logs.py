"""Log lines: for eyes on a terminal, one JSON object per line otherwise; passwords never get through.

Fields go through `extra`: `log.info("topic created", extra={"topic": "calls"})`. The event's text stays constant, so
that a log search can count it; what varies is a field.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

LEVELS = ("debug", "info", "warning", "error")

# `user:password@` in a URL: a password that was not encoded may hold anything, slashes and spaces too, so that it goes
# on to the line's last `@`. In other URLs than Redis's digits and a slash after the colon are a port and a path.
_TO_LAST_AT = r"((?:(?!://).)+)@"
_REDIS_PASSWORD = re.compile(rf"(?<=redis://|ediss://)([^\s:/@]*):{_TO_LAST_AT}")
_URL_PASSWORD = re.compile(rf"(?<=://)([^\s:/@]*):(?!\d+/|\*\*\*@){_TO_LAST_AT}")
# `password=...` in a URL's query or in a librdkafka property.
_NAMED_SECRET = re.compile(r"(?i)((?:password|secret|token)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',}]+")

_OWN_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
_COLORS = {logging.WARNING: "\033[33m", logging.ERROR: "\033[31m", logging.CRITICAL: "\033[31m"}


def redacted(text: str) -> str:
    """`text` with the passwords in it replaced by `***`."""
    return _NAMED_SECRET.sub(r"\1***", _URL_PASSWORD.sub(r"\1:***@", _REDIS_PASSWORD.sub(r"\1:***@", text)))


def set_up_logging(level: str, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` (default: stderr), once, in the form that fits the stream."""
    stream = sys.stderr if stream is None else stream
    lines = logging.StreamHandler(stream)
    lines.setFormatter(TerminalFormatter() if stream.isatty() else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(level.upper())
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """`{"time", "level", "logger", "event", ...fields}`, and `error` with the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the fields hold: what JSON does not know becomes its text."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps({name: _without_secrets(name, field) for name, field in line.items()}, default=str)


class TerminalFormatter(logging.Formatter):
    """`12:34:56 event  field=value ...`, local time, warnings and errors in color."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it where there is one."""
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = "".join(f"  {name}={field}" for name, field in _fields(record).items())
        level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
        line = redacted(f"{time} {level}{record.getMessage()}{fields}")
        if record.exc_info:
            line += "\n" + redacted(self.formatException(record.exc_info))
        color = _COLORS.get(record.levelno)
        return f"{color}{line}\033[0m" if color else line


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: field for name, field in vars(record).items() if name not in _OWN_ATTRIBUTES}


def _without_secrets(name: str, field: object) -> object:
    """`field` fit to be shown: numbers and flags as they are, a field named like a secret not at all."""
    if field is None or isinstance(field, (bool, int, float)):
        return field
    if redacted(f"{name}=x") != f"{name}=x":
        return "***"
    return redacted(str(field))
