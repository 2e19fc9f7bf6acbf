"""What an operator may set: `CALLMETER_` variables, read once into frozen values; a wrong one is named."""

import difflib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, InstanceOf, ValidationError
from pydantic.fields import FieldInfo

from aggregator.access.key import AccessKey
from aggregator.calls.error_text import ERROR_BYTES_MAX
from aggregator.rollups.levels import Retention
from api.query.bucket_cache import KEPT_BYTES_MAX
from callmeter import settings_values as values
from callmeter.durations import format_duration, parse_duration_s
from callmeter.logs import redacted
from callmeter.settings_files import FileWrong, with_files

PREFIX = "CALLMETER_"
# They may hold secrets anywhere, so what they hold is never repeated.
UNREPEATED = ("CALLMETER_KAFKA__EXTRA", "CALLMETER_KEYS")


class SettingsWrong(Exception):
    """A variable is unknown or holds what it cannot; the message is one sentence that names it."""


DURATION = BeforeValidator(values.duration_s)
DurationS = Annotated[int, DURATION]
FileThere = Annotated[Path, BeforeValidator(values.file)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class KafkaSettings(_Section):
    """Where the events come from."""

    bootstrap_servers: Annotated[str, BeforeValidator(values.servers)] = Field(
        default="127.0.0.1:9092", description="Brokers to ask first: `host:port`, several with commas."
    )
    topics: Annotated[tuple[str, ...], BeforeValidator(values.topics)] = Field(
        default=("calls",), description="Topics to read, several with commas; `produce` writes to the first."
    )
    group_id: str = Field(
        default="callmeter", min_length=1, max_length=249, description="Consumer group that the workers form."
    )
    keyed_by: Literal["any", "project"] = Field(
        default="any",
        description="`project`: all producers key messages by their project. How fresh a project's answers are then "
        "depends on its own partition alone, not on all of its topic.",
    )
    dead_letter_topic: Annotated[str, BeforeValidator(lambda written: written and values.topic(written))] = Field(
        default="", description="Where invalid messages go; empty: the source topic's name with `.dead-letters` added."
    )
    extra: Annotated[dict[str, str | int | float | bool], BeforeValidator(values.properties)] = Field(
        default={},
        description='More librdkafka properties, as a JSON object: `{"security.protocol": "SASL_SSL", ...}`.',
    )


class RedisSettings(_Section):
    """Where the state is kept."""

    url: Annotated[str, BeforeValidator(values.redis_url)] = Field(
        default="redis://127.0.0.1:6379/0", description="Redis or Valkey; `rediss://` for TLS, `unix://` for a socket."
    )
    namespace: str = Field(
        default="callmeter", pattern=r"^[^\s{}]+$", description="Every key begins with it; no spaces or braces."
    )
    cluster: bool = Field(default=False, description="`true` when the URL leads to a Redis Cluster.")


class RetentionSettings(_Section):
    """How long what is kept."""

    calls: DurationS = Field(
        default=parse_duration_s("30d"),
        description="Call records: filters on ids, and windows that begin inside a minute.",
    )
    minutes: DurationS = Field(default=parse_duration_s("30d"), description="Rollups by the minute.")
    five_minutes: DurationS = Field(
        default=parse_duration_s("90d"), description="Rollups by five minutes; no shorter than those by the minute."
    )
    hours: DurationS = Field(
        default=parse_duration_s("400d"), description="Rollups by the hour; no shorter than those by five minutes."
    )

    def kept(self) -> Retention:
        """The same, as the aggregator takes it."""
        return Retention(self.calls, self.minutes, self.five_minutes, self.hours)


class SegmentSettings(_Section):
    """How what is finished is kept small."""

    seal: bool = Field(
        default=False,
        description="`true` seals rollups of finished hours: compressed, exactly, to about a tenth, in the same Redis.",
    )
    seal_after: DurationS = Field(
        default=parse_duration_s("1h"),
        description="How long rollups are left as they are after their hour, six hours or day, and after what came "
        "late for them, before they are sealed.",
    )


class BatchSettings(_Section):
    """How much a worker folds in one step."""

    messages_max: int = Field(default=20_000, ge=1, le=1_000_000, description="Messages folded in one step, at most.")
    bytes_max: ByteSize = Field(
        default=ByteSize(32 * 2**20),
        ge=2**10,
        le=2**31,
        description="Bytes folded in one step, at most: `32MiB`, `500kB`.",
    )
    wait_ms: int = Field(
        default=100,
        ge=0,
        le=60_000,
        description="Milliseconds in which messages gather for a step; the work of the step before counts.",
    )


class LimitSettings(_Section):
    """What bounds memory where producers do not."""

    views: int = Field(
        default=2_000,
        ge=0,
        le=1_000_000,
        description="Distinct values kept for filters on op, user and run, of each kind and each combination of "
        "kinds, per project, partition and day. Beyond, totals stay exact; filters that need more are refused.",
    )
    calls_cached: int = Field(
        default=50_000, ge=1, le=10_000_000, description="Call records a worker has at hand per partition; 1 KB each."
    )
    rollups_cached: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Rollups a worker has at hand per partition; 1 to 40 KB each."
    )


class ApiSettings(_Section):
    """Where the answers are given."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that the api listens on.")
    port: int = Field(default=8080, ge=0, le=65_535, description="Port that the api listens on; 0: any free one.")
    workers: int = Field(
        default=0, ge=0, le=64, description="Processes that answer on the port together; 0: one for each core."
    )
    auth: bool = Field(
        default=True,
        description="Ask for access keys (`callmeter keys`); `false` is allowed on loopback addresses only.",
    )
    kept_bytes_max: ByteSize = Field(
        default=ByteSize(KEPT_BYTES_MAX),
        description="Memory for rows of answers, kept until what they count changes: `128MiB`, `0` for none.",
    )


class GatewaySettings(_Section):
    """Where producers send events over HTTP."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address that the gateway listens on.")
    port: int = Field(default=8090, ge=0, le=65_535, description="Port that the gateway listens on; 0: any free one.")
    auth: bool = Field(
        default=True,
        description="Ask for access keys that may write; `false` is allowed on loopback addresses only. On the api's "
        "address `CALLMETER_API__AUTH` decides.",
    )
    keyed_by: Literal["project", "trace"] = Field(
        default="project",
        description="What shares a partition. `trace` spreads a project too hot for one partition.",
    )


class LinkSettings(_Section):
    """Where more is to be seen of a call."""

    call: Annotated[str, BeforeValidator(values.link)] = Field(
        default="",
        description="Address of the page of a call, such as `https://wandb.ai/{project_id}/weave/calls/{call_id}`; "
        "examples of calls link to it.",
    )


class MetricsSettings(_Section):
    """Where a worker tells Prometheus of itself; api and gateway do on their own addresses."""

    host: str = Field(default="127.0.0.1", min_length=1, description="Address of a worker's `/metrics`.")
    port: int = Field(
        default=9464,
        ge=0,
        le=65_535,
        description="Port of a worker's `/metrics`, `/health`, `/ready`; 0: none. A second worker on a machine needs "
        "another one: where the port is taken a worker says so and works without.",
    )


class KeepSettings(_Section):
    """What is kept of calls besides numbers, ids and names; never inputs, outputs, or other attributes."""

    error_text: int = Field(
        default=200,
        ge=0,
        le=ERROR_BYTES_MAX,
        description="Bytes kept of the text of a failed call's error, for examples of calls; `0`: only the name of its "
        "class, which errors are told apart by.",
    )


class LogSettings(_Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Lowest level that is logged."
    )


class Settings(_Section):
    """All settings; each field is the variable of the same name, sections joined to it by `__`."""

    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    prices_file: FileThere | None = Field(
        default=None, description="Your own prices (YAML), before the catalogue's; absent: the catalogue alone."
    )
    default_project: str = Field(
        default="",
        max_length=256,
        description="Project of OpenTelemetry spans and LiteLLM calls that name none; empty: they are dead letters.",
    )
    keys: Annotated[tuple[InstanceOf[AccessKey], ...], BeforeValidator(values.keys)] = Field(
        default=(),
        description="Access keys that hold whatever Redis forgets, one a line: `cm_<id>_<secret> NAME [SCOPES "
        "[PROJECTS]]`; best in a file, named by `CALLMETER_KEYS_FILE`.",
    )
    retention: RetentionSettings = RetentionSettings()
    segments: SegmentSettings = SegmentSettings()
    batch: BatchSettings = BatchSettings()
    limits: LimitSettings = LimitSettings()
    api: ApiSettings = ApiSettings()
    gateway: GatewaySettings = GatewaySettings()
    link: LinkSettings = LinkSettings()
    metrics: MetricsSettings = MetricsSettings()
    keep: KeepSettings = KeepSettings()
    log: LogSettings = LogSettings()
    now: AwareDatetime | None = Field(
        default=None,
        description="Fixes the clock to this RFC 3339 instant, for replays of recorded events and for tests.",
    )

    def now_us(self) -> int | None:
        """The fixed clock in microseconds since the epoch, or None where time flows."""
        if self.now is None:
            return None
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Settings from `environ`; an empty variable is one that is not set, one with `_FILE` behind it names a file.

    Raises SettingsWrong for the first variable that is unknown (with the closest name there is) or holds a wrong value.
    """
    paths = {variable(path): path for path, _, _ in leaves(Settings())}
    set_here = {name: text for name, text in environ.items() if _is_meant(name) and text.strip()}
    try:
        given = with_files(set_here, paths)
    except FileWrong as wrong:
        raise SettingsWrong(str(wrong)) from None
    tree: dict[str, Any] = {}
    for name, text in given.items():
        if name not in paths:
            closest = difflib.get_close_matches(name[len(PREFIX) :], [known[len(PREFIX) :] for known in paths], n=1)
            hint = f"did you mean {PREFIX}{closest[0]}?" if closest else "`callmeter settings` lists those there are."
            raise SettingsWrong(f"{name} is not a setting; {hint}")
        *sections, field = paths[name]
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[field] = text.strip()
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as wrong:
        raise SettingsWrong(_sentence(wrong, given)) from None
    _check_retention(settings.retention)
    return settings


def _check_retention(retention: RetentionSettings) -> None:
    """Raises SettingsWrong where a finer level would be kept for longer than a coarser one."""
    for finer, coarser in (("minutes", "five_minutes"), ("five_minutes", "hours")):
        longer_s, shorter_s = getattr(retention, finer), getattr(retention, coarser)
        if longer_s > shorter_s:
            longer, shorter = format_duration(longer_s), format_duration(shorter_s)
            longer_name, shorter_name = variable(("retention", finer)), variable(("retention", coarser))
            raise SettingsWrong(
                f"{longer_name}={longer} is longer than {shorter_name}={shorter}: what is coarser is kept at least as "
                f"long. Set {shorter_name}={longer} or more."
            )


def leaves(section: BaseModel, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, FieldInfo]]:
    """Every setting below `section`, in the order of the documentation: path, value, definition."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value, field


def _is_meant(name: str) -> bool:
    """Whether an environment variable is meant to set something; what steers the tests is not."""
    return name.startswith(PREFIX) and not name.startswith(f"{PREFIX}TEST_")


def variable(path: tuple[str, ...]) -> str:
    """`("redis", "url")` is set by `CALLMETER_REDIS__URL`."""
    return PREFIX + "__".join(path).upper()


def _sentence(wrong: ValidationError, given: Mapping[str, str]) -> str:
    """The first of the errors as a sentence: which variable, what it holds, what is wrong with that."""
    error = wrong.errors()[0]
    name = next(name for name in given if variable(tuple(map(str, error["loc"]))).startswith(name))
    holds = "" if name in UNREPEATED else f"={redacted(given[name].strip())!r}"
    if error["type"] == "value_error":
        return f"{name}{holds} {error['ctx']['error']}"
    return f"{name}{holds} is wrong: {error['msg'][0].lower()}{error['msg'][1:]}"
