"""Reads the settings from `CALLMETER_` variables, once, into frozen values; a wrong variable is named."""

import difflib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from callmeter.durations import format_duration
from callmeter.logs import redacted
from callmeter.settings import RetentionSettings, Settings
from callmeter.settings_files import FileWrong, with_files

PREFIX = "CALLMETER_"
# They may hold secrets anywhere, so what they hold is never repeated.
UNREPEATED = ("CALLMETER_KAFKA__EXTRA", "CALLMETER_KEYS", "CALLMETER_ALERTS__KEY")


class SettingsWrong(Exception):
    """A variable is unknown or holds what it cannot; the message is one sentence that names it."""


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
