"""Types of request fields that keep the JSON schema of the contract and check what that schema cannot say."""

import re
from datetime import UTC, datetime, timedelta
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

# Values in one list of a filter; the law's number. More would be a join, which this api does not do.
FILTER_VALUES_MAX = 1_000

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ](?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?",
    re.ASCII,
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def instant_us(value: object) -> int:
    """Microseconds since the epoch of an RFC 3339 instant; without an offset it is UTC, later digits are cut.

    Raises PydanticCustomError for anything else, and for instants outside the years 1 to 9999 of UTC.
    """
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "Input should be an RFC 3339 date-time string")
    if not _INSTANT.fullmatch(value):
        raise PydanticCustomError("datetime_parsing", "Input should be an RFC 3339 date-time, 2026-03-03T00:00:00Z")
    try:
        moment = datetime.fromisoformat(value.upper())
    except ValueError:
        raise PydanticCustomError("datetime_parsing", "Input should be a date that exists") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    us = (moment - _EPOCH) // _MICROSECOND
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
