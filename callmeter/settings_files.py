"""Settings that stand in files: a variable whose name ends in `_FILE` names the file that holds the value.

For secrets, which orchestrators mount as files: `CALLMETER_REDIS__URL_FILE=/run/secrets/redis_url`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

SUFFIX = "_FILE"
# A setting is a line; a file that is larger than this is another one than was meant.
FILE_BYTES_MAX = 65_536


class FileWrong(ValueError):
    """A setting's file cannot be used; the message is a sentence that names the variable, and nothing of the file."""


def with_files(given: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """The variables that are `known` settings, with what stands in the files that others name.

    Raises FileWrong for a file that cannot be read, or where the value is given too.
    """
    values: dict[str, str] = {}
    for name, text in given.items():
        setting = name.removesuffix(SUFFIX)
        if name in known or setting not in known or setting == name:
            values[name] = text
        elif setting in given:
            raise FileWrong(f"{setting} and {name} are both set; only one may be.")
        elif content := _content(name, Path(text.strip())).strip():
            values[setting] = content
    return values


def _content(name: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        text = raw.decode()
    except OSError as trouble:
        raise FileWrong(f"{name}: {path} cannot be read: {trouble.strerror}.") from None
    except UnicodeDecodeError:
        raise FileWrong(f"{name}: {path} is not UTF-8 text.") from None
    if len(raw) > FILE_BYTES_MAX:
        raise FileWrong(f"{name}: {path} is larger than {FILE_BYTES_MAX} bytes.")
    return text
