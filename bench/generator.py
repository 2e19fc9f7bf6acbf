"""Agent traces as Kafka messages, in any amount and at speed: one JSON line `{"key": …, "value": {event}}` each.

A trace is one agent run of 5 to 20 calls: nested steps, tools, and LLM calls (half of all) with usage, failures and
retries. Every call is a start and an end of its own, as Weave's SDK sends them; the ends of parents carry the sum
of their children's usage, as that SDK writes it. The same settings give the same bytes.
"""

import os
import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID

import click

from bench.disorder import repeat, shuffle

CALLS_PER_TRACE_MIN, CALLS_PER_TRACE_MAX = 5, 20
DEPTH_MAX = 4
LLM_FAILURES = 0.02
TOOL_FAILURES = 0.03

MODEL_NAMES = ("gpt-4o", "claude-sonnet-4", "gpt-4o-mini", "gemini-2.5-flash", "acme-llm-1")
EXCEPTION = '"{\\"type\\": \\"TimeoutError\\", \\"message\\": \\"upstream took too long\\"}"'
# Prose with what JSON must escape, in blocks that may be cut between, not inside.
BLOCK = '\\"Why?\\" - because the answer, as ever, depends on the question.\\n'
FILLING = "." * len(BLOCK)

# Usage as the APIs of three vendors word it; all take requests, input, output, cached.
USAGE_FORMATS = (
    '"{model}":{{"requests":%d,"prompt_tokens":%d,"completion_tokens":%d,'
    '"prompt_tokens_details":{{"cached_tokens":%d,"audio_tokens":0}}}}',
    '"{model}":{{"requests":%d,"input_tokens":%d,"output_tokens":%d,"cache_read_input_tokens":%d,'
    '"cache_creation_input_tokens":0}}',
    '"{model}":{{"requests":%d,"input_tokens":%d,"output_tokens":%d,"input_tokens_details":{{"cached_tokens":%d}}}}',
)

Tokens = tuple[int, int, int, int]


@dataclass(frozen=True)
class GeneratorSettings:
    """All that says what to generate: `calls` calls, from `start` on over `days`, each message about `message_bytes`
    long."""

    calls: int
    start: datetime
    days: float = 1.0
    seed: int = 0
    message_bytes: int = 1000
    models: int = 5
    ops: int = 20
    users: int = 50
    projects: int = 1
    duplicates_percent: float = 0.0
    disorder: bool = False
    key: Literal["project", "trace"] = "project"
    ids: Literal["ordered", "random"] = "ordered"

    def __post_init__(self) -> None:
        if self.calls < 0 or min(self.models, self.users, self.projects) < 1 or self.ops < 4:
            raise ValueError("at least 0 calls, 4 ops, and 1 model, user and project")
        if self.days <= 0 or not 0 <= self.duplicates_percent <= 100:
            raise ValueError("days must be positive, duplicates_percent from 0 to 100")


def generate(settings: GeneratorSettings) -> Iterator[bytes]:
    """The lines, each with its newline; traces by their start, each in order of time, unless disorder is asked for."""
    lines: Iterable[bytes] = _traces(settings)
    if settings.duplicates_percent:
        lines = repeat(lines, settings.duplicates_percent / 100, random.Random(settings.seed + 1))
    if settings.disorder:
        lines = shuffle(lines, random.Random(settings.seed + 2))
    return iter(lines)


def _traces(settings: GeneratorSettings) -> Iterator[bytes]:
    """Yields one trace after the other, spread evenly over the time."""
    rng = random.Random(settings.seed)
    start_us = int(settings.start.timestamp()) * 1_000_000
    us_per_call = settings.days * 86_400_000_000 / max(settings.calls, 1)
    written = 0
    while written < settings.calls:
        size = min(rng.randint(CALLS_PER_TRACE_MIN, CALLS_PER_TRACE_MAX), settings.calls - written)
        trace = _Trace(settings, rng, start_us + int(us_per_call * (written + rng.random() * size)))
        yield from trace.lines(size)
        written += size


class _OpenCall:
    """A call that has started, with what its children have used so far."""

    __slots__ = ("call_id", "errors", "successes", "usage")

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id
        self.successes = 0
        self.errors = 0
        self.usage: dict[int, Tokens] = {}


class _Trace:
    """One agent run: its clock goes on with every call, its open calls are a stack."""

    def __init__(self, settings: GeneratorSettings, rng: random.Random, started_us: int) -> None:
        self._rng, self._random = rng, rng.random
        self._settings = settings
        self._now_us = started_us
        self._open: list[_OpenCall] = []
        # Squared, so that some projects and users are much busier than others.
        project = f"acme/project-{int(rng.random() ** 2 * settings.projects)}"
        user = int(rng.random() ** 2 * settings.users)
        self._trace_id = self._new_id()
        key = project if settings.key == "project" else f"{project}/{self._trace_id}"
        self._prefix = f'{{"key":"{key}","value":'
        self._identity = f'"project_id":"{project}","id":"'
        self._ops = f"weave:///{project}/op/"
        self._about = (
            f'"trace_id":"{self._trace_id}","thread_id":"thread-{user}-{rng.getrandbits(8)}",'
            f'"turn_id":"{self._trace_id}","wb_user_id":"user-{user}","wb_run_id":null,"display_name":null,'
            '"attributes":{"weave":{"client_version":"0.52.1","source":"python-sdk","os_name":"Linux"}},'
            f'"inputs":{{"self":"weave:///{project}/object/Agent:v{user % 3}","messages":[{{"role":"user","content":"'
        )

    def lines(self, calls: int) -> Iterator[bytes]:
        """The events of exactly so many calls, in order of time."""
        yield self._start("agent.run:v1")
        llm_is_next = True
        for _ in range(calls - 1):
            chance = self._random()
            if llm_is_next:
                yield self._start(self._op("llm", chance))
                failed = self._random() < LLM_FAILURES
                self._now_us += int(self._rng.lognormvariate(14, 0.8))
                yield self._end(failed, None if failed else self._used())
                # A failed call is tried again.
                llm_is_next = failed
                continue
            llm_is_next = True
            if chance < 0.3:
                if len(self._open) > 1 and (chance < 0.2 or len(self._open) == DEPTH_MAX):
                    yield self._end(failed=False, used=None)
                yield self._start("agent.step:v1")
                continue
            yield self._start(self._op("tool", chance))
            self._now_us += int(self._rng.expovariate(1 / 150_000))
            yield self._end(self._random() < TOOL_FAILURES, None)
        while self._open:
            yield self._end(failed=False, used=None)

    def _op(self, kind: str, chance: float) -> str:
        """Returns one of the ops of a kind; two of all ops are the agent's own."""
        number = int(chance * chance * (self._settings.ops - 2) / 2)
        return f"{kind}.op-{number}:v{1 + number % 2}"

    def _used(self) -> tuple[int, Tokens]:
        """Model number and tokens of an LLM call; a third of them finds half of its input in the cache."""
        model = int(self._random() ** 2 * self._settings.models)
        prompt = 50 + int(self._rng.expovariate(1 / 1500))
        return model, (1, prompt, 1 + int(self._rng.expovariate(1 / 300)), prompt // 2 if prompt % 3 == 0 else 0)

    def _start(self, op: str) -> bytes:
        call_id = self._new_id()
        parent = f'"{self._open[-1].call_id}"' if self._open else "null"
        self._open.append(_OpenCall(call_id))
        self._now_us += 1000 + int(self._random() * 5000)
        head = (
            f'{{"mode":"start","req":{{"start":{{{self._identity}{call_id}","op_name":"{self._ops}{op}",'
            f'"started_at":"{_instant(self._now_us)}","parent_id":{parent},{self._about}'
        )
        return self._line(head, '"}]}}}}')

    def _end(self, failed: bool, used: tuple[int, Tokens] | None) -> bytes:
        call = self._open.pop()
        self._now_us += 1000 + int(self._random() * 2000)
        if failed:
            call.errors += 1
        else:
            call.successes += 1
        if used is not None:
            call.usage[used[0]] = used[1]
        if self._open:
            _add(self._open[-1], call)
        usage = ",".join([_usage_format(model) % tokens for model, tokens in call.usage.items()])
        head = (
            f'{{"mode":"end","req":{{"end":{{{self._identity}{call.call_id}","ended_at":"{_instant(self._now_us)}",'
            f'"exception":{EXCEPTION if failed else "null"},"summary":{{"usage":{{{usage}}},'
            f'"status_counts":{{"success":{call.successes},"error":{call.errors}}}}},"output":{{"text":"'
        )
        return self._line(head, '"}}}}')

    def _line(self, head: str, tail: str) -> bytes:
        """The value filled up to the wanted length."""
        missing = self._settings.message_bytes - len(head) - len(tail)
        if missing > 0:
            head += BLOCK * (missing // len(BLOCK)) + FILLING[: missing % len(BLOCK)]
        return f"{self._prefix}{head}{tail}}}\n".encode()

    def _new_id(self) -> str:
        """Returns an id like a UUIDv7, sorted by time, then random; or like a UUIDv4."""
        if self._settings.ids == "random":
            return str(UUID(int=self._rng.getrandbits(128), version=4))
        moment, chance = f"{self._now_us // 1000:012x}", f"{self._rng.getrandbits(72):018x}"
        return f"{moment[:8]}-{moment[8:]}-7{chance[:3]}-8{chance[3:6]}-{chance[6:]}"


def _add(parent: _OpenCall, child: _OpenCall) -> None:
    """Sum up the child in its parent, as the SDK does."""
    parent.successes += child.successes
    parent.errors += child.errors
    for model, used in child.usage.items():
        requests, prompt, completion, cached = parent.usage.get(model, (0, 0, 0, 0))
        parent.usage[model] = (requests + used[0], prompt + used[1], completion + used[2], cached + used[3])


@lru_cache(maxsize=10_000)
def _usage_format(model: int) -> str:
    name = MODEL_NAMES[model] if model < len(MODEL_NAMES) else f"model-{model}"
    return USAGE_FORMATS[model % len(USAGE_FORMATS)].format(model=name)


@lru_cache(maxsize=100)
def _minute(minute: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:", time.gmtime(minute * 60))


def _instant(us: int) -> str:
    minute, rest_us = divmod(us, 60_000_000)
    return f"{_minute(minute)}{rest_us // 1_000_000:02d}.{rest_us % 1_000_000:06d}Z"


@click.command(context_settings={"show_default": True, "max_content_width": 110})
@click.option("--calls", type=click.IntRange(0), required=True, help="How many calls; each is two lines.")
@click.option("--seed", default=0, help="Another seed, other traces of the same kind.")
@click.option("--message-bytes", default=1000, help="Length of a value; inputs and output are filled up to it.")
@click.option("--start", help="First instant, ISO 8601 [default: DAYS before now; give it for reproducible bytes].")
@click.option("--days", default=1.0, help="Over how many days the calls are spread evenly.")
@click.option("--models", default=5, help="How many models; the first is used most.")
@click.option("--ops", default=20, help="How many op names.")
@click.option("--users", default=50, help="How many users.")
@click.option("--projects", default=1, help="How many projects (acme/project-0, …); the first is busiest.")
@click.option("--duplicates-percent", default=0.0, help="How many of a hundred lines come again later.")
@click.option("--disorder", is_flag=True, help="Shuffle among 20,000 neighbours: ends before starts, and so on.")
@click.option(
    "--key",
    type=click.Choice(["project", "trace"]),
    default="project",
    help="What the message key names: decides which calls share a partition.",
)
@click.option(
    "--ids",
    type=click.Choice(["ordered", "random"]),
    default="ordered",
    help="Ids that begin with the time, as UUIDs of version 7 do, or random ones, of version 4.",
)
def main(start: str | None, days: float, **options: Any) -> None:
    """Write agent traces as JSON lines {"key": …, "value": {event}}, about 1 KB each, to standard output.

    \b
    A million calls of the last 30 days, twice the same bytes for the same --start:
        python -m bench.generator --calls 1000000 --days 30 --start 2026-06-01 > events.jsonl
    Everything that Kafka may do to them:
        python -m bench.generator --calls 10000 --duplicates-percent 5 --disorder | head -3
    """
    try:
        first = datetime.now(UTC) - timedelta(days=days) if start is None else datetime.fromisoformat(start)
        if first.tzinfo is None:
            first = first.replace(tzinfo=UTC)
        settings = GeneratorSettings(start=first, days=days, **options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        sys.stdout.buffer.writelines(generate(settings))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted; what is still buffered must go somewhere at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
