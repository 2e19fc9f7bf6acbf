"""Types of request fields that keep the JSON schema of the contract and check what that schema cannot say."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    StrictInt,
    StrictStr,
    WithJsonSchema,
)
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticCustomError, core_schema

from aggregator.timestamps import parse_timestamp_us

# Values in one list of a filter; the law's number. More would be a join, which this api does not do.
FILTER_VALUES_MAX = 1_000

# 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what an answer can write.
_FIRST_US = -62_135_596_800_000_000
_LAST_US = 253_402_300_799_999_999


def instant_us(value: object) -> int:
    """Microseconds since the epoch of an RFC 3339 instant; without an offset it is UTC, later digits are cut.

    Raises PydanticCustomError for anything else, and for instants outside the years 1 to 9999 of UTC.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be an RFC 3339 date-time string")
    try:
        us = parse_timestamp_us(value)
    except ValueError:
        raise PydanticCustomError(
            "datetime_parsing", "Input should be an RFC 3339 date-time, 2026-03-03T00:00:00Z"
        ) from None
    if not _FIRST_US <= us <= _LAST_US:
        raise PydanticCustomError("datetime_parsing", "Input should be in the years 1 to 9999")
    return us


def _whole(value: object) -> object:
    # JSON has one kind of number: 60.0 is an integer to JSON Schema. true and "60" are not.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _no_more_values(values: list[str]) -> list[str]:
    if len(values) > FILTER_VALUES_MAX:
        raise PydanticCustomError("too_long", f"List should have at most {FILTER_VALUES_MAX} values")
    return values


InstantUs = Annotated[int, PlainValidator(instant_us), WithJsonSchema({"type": "string", "format": "date-time"})]
WholeNumber = Annotated[StrictInt, BeforeValidator(_whole)]
# Without fail_fast a list of half a million numbers would be half a million errors.
Strings = Annotated[list[StrictStr], Field(fail_fast=True)]
FilterStrings = Annotated[Strings, AfterValidator(_no_more_values)]


class ContractSchema(GenerateJsonSchema):
    """JSON schema as the contract writes it: a field that may be left out says so without `default: null`."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """The schema of a field with a default."""
        if self.get_default_value(schema) is None:
            return self.generate_inner(schema["schema"])
        return super().default_schema(schema)
