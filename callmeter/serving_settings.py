"""What an operator may set of what serves HTTP: the api and the gateway."""

from pathlib import Path
from typing import Literal

from pydantic import ByteSize, Field

from api.query.bucket_cache import KEPT_BYTES_MAX
from callmeter.settings_section import Section


class ApiSettings(Section):
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
    disk_cache: Path | None = Field(
        # Off: a directory of objects is read as fast, and not every machine has disk to spare.
        default=None,
        description="Directory where all processes of the api on a machine keep what they have read of a bucket "
        "(`CALLMETER_SEGMENTS__URL`), checked whenever it is read; absent: in memory alone, 64 MiB a process.",
    )
    disk_cache_bytes_max: ByteSize = Field(
        # Hours and five-minute slots of a month at 10 calls a second take half of it.
        default=ByteSize(2**30),
        ge=2**20,
        description="Bytes that are kept there, and up to a twentieth more for each process: `1GiB`, `500MB`.",
    )
    stale_s_max: int = Field(
        # An idle partition is as of one second ago; a consumer group gives those of a killed worker to another within
        # 45 s, and a rebuild hands over in seconds.
        default=120,
        ge=0,
        le=31_536_000,
        description="Seconds that all partitions may be behind before `/ready` says no, and which; `0`: however many.",
    )


class GatewaySettings(Section):
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
