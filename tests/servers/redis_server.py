"""A real Redis (Valkey) for tests, with or without a memory of what it held before it was killed."""

from collections.abc import Sequence
from pathlib import Path

from callmeter.local.embedded_redis import EmbeddedRedis


class RedisServer(EmbeddedRedis):
    """A Redis as `callmeter up` starts it; `appendonly=False` makes one that comes back empty after `kill()`."""

    def __init__(
        self, directory: Path, port: int | None = None, appendonly: bool = True, extra_args: Sequence[str] = ()
    ) -> None:
        persistence = () if appendonly else ("--appendonly", "no")
        super().__init__(directory, port, (*persistence, *extra_args))
