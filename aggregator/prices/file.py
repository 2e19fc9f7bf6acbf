"""The operator's price file: YAML, read exactly as written, and refused with one sentence that names what is wrong."""

import re
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError

from aggregator.timestamps import parse_timestamp_us

# A MiB of YAML is read within seconds; each pattern in it is tried once on every new (project, model).
FILE_BYTES_MAX = 1_048_576
ENTRIES_MAX = 10_000
# More than a thousand times the dearest model there is: above it, somebody mistook the unit.
USD_PER_MILLION_MAX = 1_000_000
# No price needs more digits; longer ones would only slow the arithmetic down.
_PRICE_CHARACTERS_MAX = 40

_PRICE = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)


class PriceFileError(ValueError):
    """The file cannot be used. The message is one sentence with the file, the entry's number and the field."""


def _usd_per_million(written: object) -> Decimal:
    if not isinstance(written, str) or len(written) > _PRICE_CHARACTERS_MAX or not _PRICE.fullmatch(written):
        raise ValueError(f"must be a number of USD per million tokens, 0 or more, not {_quoted(written)}")
    price = Decimal(written)
    if price > USD_PER_MILLION_MAX:
        raise ValueError(f"must be USD per million tokens, and {written} is more than {USD_PER_MILLION_MAX}")
    return price


def _usd_per_million_or_none(written: object) -> Decimal | None:
    return None if written is None else _usd_per_million(written)


def _instant_us(written: object) -> int | None:
    if written is None:
        return None
    try:
        if isinstance(written, str):
            return parse_timestamp_us(written)
    except ValueError:
        pass
    raise ValueError(f"must be an instant like 2026-05-11T12:00:00Z, not {_quoted(written)}")


def _quoted(written: object) -> str:
    return "nothing" if written is None else repr(written)[:60]


_Price = Annotated[Decimal, BeforeValidator(_usd_per_million)]
_OptionalPrice = Annotated[Decimal | None, BeforeValidator(_usd_per_million_or_none)]


class PriceEntry(BaseModel):
    """USD per million tokens of a model, or of all models a pattern matches, in one project or in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: StrictStr
    """`*` in it stands for any characters, or none."""
    project: StrictStr | None = None
    from_us: Annotated[int | None, BeforeValidator(_instant_us)] = Field(default=None, alias="from")
    """Since when it is in force, in microseconds since 1970; None: always."""
    input: _Price
    output: _OptionalPrice = None
    cache_read: _OptionalPrice = None
    cache_creation: _OptionalPrice = None

    @property
    def is_pattern(self) -> bool:
        """Whether it may match several models."""
        return "*" in self.model

    def matches(self, model: str) -> bool:
        """Whether it prices this model: only `*` is special, and upper and lower case differ."""
        return self._regex.fullmatch(model) is not None

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        first, *rest = map(re.escape, self.model.split("*"))
        if not rest:
            return re.compile(first)
        *inner, last = rest
        # Atomic groups: what stands between two stars is found once, so no model's name can make matching slow.
        return re.compile(first + "".join(f"(?>.*?{part})" for part in inner) + ".*" + last, re.DOTALL)


class PriceFile(NamedTuple):
    """The entries in the order of the file, counted from 1, and the name by which to speak of it."""

    name: str
    entries: tuple[PriceEntry, ...]


def load_price_file(path: Path) -> PriceFile:
    """Read the file. Raises PriceFileError, also where it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise PriceFileError(f"{path.name} is larger than {FILE_BYTES_MAX} bytes.")
        return parse_price_file(raw.decode(), path.name)
    except OSError as trouble:
        raise PriceFileError(f"{path} cannot be read: {trouble.strerror}.") from trouble
    except UnicodeDecodeError as trouble:
        raise PriceFileError(f"{path.name} is not UTF-8 text.") from trouble


def parse_price_file(text: str, name: str) -> PriceFile:
    """The entries of a YAML text; `name` is what errors and prices call the file. Raises PriceFileError."""
    try:
        document = yaml.load(text, Loader=_ExactLoader)
    except yaml.MarkedYAMLError as trouble:
        line = f", line {trouble.problem_mark.line + 1}" if trouble.problem_mark else ""
        raise PriceFileError(f"{name}{line}: {trouble.problem or 'this is no YAML'}.") from trouble
    except (yaml.YAMLError, RecursionError) as trouble:
        raise PriceFileError(f"{name} is no YAML text.") from trouble
    if not isinstance(document, dict) or set(document) != {"prices"} or not isinstance(document["prices"], list):
        raise PriceFileError(f"{name} must hold a list `prices` and nothing else.")
    written = document["prices"]
    if len(written) > ENTRIES_MAX:
        raise PriceFileError(f"{name} has {len(written)} entries, more than {ENTRIES_MAX}.")
    return PriceFile(name, tuple(_entry(entry, f"{name}, entry {number}") for number, entry in enumerate(written, 1)))


def _entry(written: object, place: str) -> PriceEntry:
    if not isinstance(written, dict):
        raise PriceFileError(f"{place} must be a mapping with `model` and `input`.")
    try:
        # By the names of the file only: `from_us` is not one of them, and stays unknown.
        return PriceEntry.model_validate(written)
    except ValidationError as trouble:
        first = trouble.errors()[0]
        field = str(first["loc"][0]) if first["loc"] else ""
        raise PriceFileError(f"{place}, `{field}` {_reason(first['type'], first['msg'])}.") from trouble


def _reason(error_type: str, message: str) -> str:
    known = {
        "missing": "is missing",
        "extra_forbidden": f"is unknown; known are {', '.join(_FIELDS)}",
        "string_type": "must be text",
    }
    return known.get(error_type, message.removeprefix("Value error, "))


_FIELDS = tuple(field.alias or name for name, field in PriceEntry.model_fields.items())


class _ExactLoader(yaml.SafeLoader):
    """Keeps every scalar as the text that was written (no floats), but for null; a key twice is a mistake."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the parent's way
        letter: [resolver for resolver in resolvers if resolver[0] == "tag:yaml.org,2002:null"]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Make a dict of a mapping, and refuse a key that comes twice."""
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"`{key.value}` comes twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)
