"""What an operator may set, section by section: each field with its default, its bounds and its meaning."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, ByteSize, Field, InstanceOf, SecretStr

from aggregator.access.key import AccessKey
from aggregator.calls.error_text import ERROR_BYTES_MAX
from aggregator.rollups.levels import Retention
from aggregator.writing.limits import ShardLimits
from callmeter import settings_values as values
from callmeter.durations import parse_duration_s
from callmeter.serving_settings import ApiSettings, GatewaySettings
from callmeter.settings_section import Section as _Section
from ingest.batch_limits import BatchLimits

DURATION = BeforeValidator(values.duration_s)
DurationS = Annotated[int, DURATION]
# Defaults stand once: with what they limit.
_BATCH, _SHARD, _KEPT = BatchLimits(), ShardLimits(), Retention()

FileThere = Annotated[Path, BeforeValidator(values.file)]


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
    member: Annotated[str, BeforeValidator(values.member)] = Field(
        default="",
        description="Name of a worker in the group, which no other worker has: killed and started again within 10 s, "
        "it has its partitions again at once. `{hostname}` in it is the machine's or container's; empty: none.",
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
        default=_KEPT.calls_s,
        description="Call records: filters on ids, and windows that begin inside a minute.",
    )
    minutes: DurationS = Field(default=_KEPT.minutes_s, description="Rollups by the minute.")
    five_minutes: DurationS = Field(
        default=_KEPT.five_minutes_s, description="Rollups by five minutes; no shorter than those by the minute."
    )
    hours: DurationS = Field(
        default=_KEPT.hours_s, description="Rollups by the hour; no shorter than those by five minutes."
    )

    def kept(self) -> Retention:
        """Return the retention as the aggregator takes it."""
        return Retention(self.calls, self.minutes, self.five_minutes, self.hours)


class SegmentSettings(_Section):
    """How what is finished is kept small."""

    seal: bool = Field(
        default=True,
        description="Seals what is finished in Redis, exactly, to a tenth; `false` leaves what is new as it is.",
    )
    seal_after: DurationS = Field(
        default=parse_duration_s("1h"),
        description="How long rollups are left as they are after their hour, or three hours, and rollups and calls "
        "after what last came for them, before they are sealed.",
    )
    url: Annotated[str, BeforeValidator(values.object_store_url)] = Field(
        default="",
        description="Where sealed rollups go once their UTC day is over, for workers and api: a directory that all of "
        "them share, `file:///path`, or a bucket, `s3://`, `gs://`, `az://` (needs `callmeter[buckets]`); empty: they "
        "stay in Redis.",
    )
    backup_every: Annotated[int, DURATION, BeforeValidator(values.never)] = Field(
        default=parse_duration_s("1d"),
        description="How often a worker copies all that Redis holds beside them (`callmeter backup`); `0`: never.",
    )
    backup_keep: Annotated[int, BeforeValidator(values.kept_backup_s), DURATION] = Field(
        default=parse_duration_s("3d"),
        description="How long such copies are kept; at most `7d`, as long as objects stay that only they point into.",
    )


class BatchSettings(_Section):
    """How much a worker folds in one step."""

    messages_max: int = Field(
        default=_BATCH.messages_max, ge=1, le=1_000_000, description="Messages folded in one step, at most."
    )
    bytes_max: ByteSize = Field(
        default=ByteSize(_BATCH.bytes_max),
        ge=2**10,
        le=2**31,
        description="Bytes folded in one step, at most: `32MiB`, `500kB`.",
    )
    wait_ms: int = Field(
        default=_BATCH.wait_ms,
        ge=0,
        le=60_000,
        description="Milliseconds in which messages gather for a step; the work of the step before counts.",
    )


class LimitSettings(_Section):
    """What bounds memory where producers do not."""

    views: int = Field(
        default=_SHARD.views_max,
        ge=0,
        le=1_000_000,
        description="Distinct values kept for filters on op, user and run, of each kind and each combination of "
        "kinds, per project, partition and day. Beyond, all stays exact; filters that need more look at all calls.",
    )
    calls_cached: int = Field(
        default=_SHARD.calls_cached_max,
        ge=1,
        le=10_000_000,
        description="Call records a worker has at hand per partition; 1 KB each.",
    )
    cells_cached: int = Field(
        default=_SHARD.cells_cached_max,
        ge=1,
        le=1_000_000,
        description="Cells (stored rollups) a worker has at hand per partition; 1 to 40 KB each.",
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
        default=_SHARD.error_bytes_max,
        ge=0,
        le=ERROR_BYTES_MAX,
        description="Bytes kept of the text of a failed call's error, for examples of calls; `0`: only the name of its "
        "class, which errors are told apart by.",
    )


class AlertSettings(_Section):
    """Where alerts get their numbers."""

    api: Annotated[str, BeforeValidator(values.web_address)] = Field(
        default="", description="Address of the api that `callmeter alerts` asks; empty: the one of `CALLMETER_API__*`."
    )
    key: SecretStr = Field(
        default=SecretStr(""),
        description="Access key that it asks with; best in a file, named by `CALLMETER_ALERTS__KEY_FILE`.",
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
    alerts: AlertSettings = AlertSettings()
    keep: KeepSettings = KeepSettings()
    log: LogSettings = LogSettings()
    now: AwareDatetime | None = Field(
        default=None,
        description="Fixes the clock to this RFC 3339 instant, for replays of recorded events and for tests. Keys in "
        "Redis expire by its own clock.",
    )

    def now_us(self) -> int | None:
        """The fixed clock in microseconds since the epoch, or None where time flows."""
        if self.now is None:
            return None
        return (self.now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
