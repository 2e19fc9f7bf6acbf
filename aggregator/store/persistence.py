"""Whether Redis keeps on disk what it holds: if not, a restart of it loses access keys and what Kafka has dropped."""

from typing import Any

import redis


def keeps_on_disk(client: redis.Redis) -> bool | None:
    """Whether it writes an append-only file or snapshots; None where it does not say, as managed ones often do not.

    Raises redis.RedisError and OSError where Redis is away.
    """
    asked: Any = client
    try:
        if asked.info("persistence").get("aof_enabled"):
            return True
        saves = asked.config_get("save").get("save")
    except redis.ResponseError:  # NOPERM, or a CONFIG that is not there
        return None
    return None if saves is None else bool(saves)
