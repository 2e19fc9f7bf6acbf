"""How the text of a setting becomes its value; ValueErrors are the rest of a sentence about the variable."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

from aggregator.access.stated_keys import stated_keys
from aggregator.objects.opening import check_url
from aggregator.writing.limits import ShardLimits
from callmeter.durations import format_duration, parse_duration_s

_OBJECTS_GRACE_S = ShardLimits().objects_grace_s
HOSTNAME = "{hostname}"
_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")  # what Kafka allows


def topic(written: str) -> str:
    """A name that Kafka allows for a topic."""
    if not _TOPIC.fullmatch(written):
        raise ValueError(f"names the topic {written!r}; a name is 1-249 letters, digits, `.`, `-`, `_`")
    return written


def topics(written: object) -> object:
    """Names with commas between, each once."""
    if not isinstance(written, str):
        return written
    return tuple(dict.fromkeys(topic(name.strip()) for name in written.split(",")))


def servers(written: str) -> str:
    """`host:port`, several with commas."""
    for server in written.split(","):
        if not re.fullmatch(r"\s*[^\s/,]+?:\d{1,5}\s*", server):
            raise ValueError("is not a list of host:port, like kafka-1:9092,kafka-2:9092")
    return written


def member(written: str) -> str:
    """A name that Kafka allows for a member of a group; `{hostname}` in it stands for the machine's."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,249}", written.replace(HOSTNAME, "h")):
        raise ValueError(f"is {written!r}; a name is letters, digits, `.`, `-`, `_`, and {HOSTNAME}")
    return written


def redis_url(written: str) -> str:
    """The address of a Redis."""
    url = urlsplit(written)
    try:
        known = url.scheme in ("redis", "rediss", "unix") and (url.port is None or url.port > 0)
    except ValueError:
        known = False
    if not known:
        raise ValueError("is not a Redis URL, like redis://127.0.0.1:6379/0; rediss:// and unix:// are known too")
    return written


def object_store_url(written: str) -> str:
    """The address of a directory or a bucket; empty for none."""
    if written:
        check_url(written)
    return written


def properties(written: object) -> object:
    """A JSON object."""
    if not isinstance(written, str):
        return written
    try:
        properties = json.loads(written)
    except ValueError:
        properties = None
    if not isinstance(properties, dict):
        raise ValueError('is not a JSON object of librdkafka properties, like {"security.protocol": "SSL"}')
    return properties


def duration_s(written: object) -> object:
    """A duration as people write it, in seconds."""
    return parse_duration_s(written) if isinstance(written, str) else written


def never(written: object) -> object:
    """Return 0 for `0`, and else what was written."""
    return 0 if written == "0" else written


def kept_backup_s(duration_s: object) -> object:
    """Seconds for which all objects stay that a copy of Redis points into."""
    if isinstance(duration_s, int) and duration_s > _OBJECTS_GRACE_S:
        raise ValueError(f"is longer than {format_duration(_OBJECTS_GRACE_S)}, for which objects are kept")
    return duration_s


def keys(written: object) -> object:
    """Access keys, one a line."""
    return stated_keys(written) if isinstance(written, str) else written


def file(written: object) -> object:
    """The path of a file that exists."""
    if isinstance(written, str) and not Path(written).expanduser().is_file():
        raise ValueError("is not a file that exists")
    return Path(written).expanduser() if isinstance(written, str) else written


def web_address(written: str) -> str:
    """An address that begins with http:// or https://."""
    if written and not written.startswith(("https://", "http://")):
        raise ValueError("is not a web address, like https://callmeter.example")
    return written


def link(written: str) -> str:
    """A web address with places for a project and a call."""
    without_places = written.replace("{project_id}", "").replace("{call_id}", "")
    if written and (not written.startswith(("https://", "http://")) or "{" in without_places or "}" in without_places):
        raise ValueError("is not a web address; {project_id} and {call_id} may stand in it, and no other braces")
    return written
