"""The requests of the golden cases, by endpoint and status."""

import json
from typing import Any

import pytest

from tests.support.paths import CASES


def golden(path: str, status: int) -> list[Any]:
    """The golden cases of an endpoint with this status."""
    cases = [case for file in sorted(CASES.glob("*.cases.json")) for case in json.loads(file.read_text())["cases"]]
    return [
        pytest.param(case, id=case["name"][:60]) for case in cases if case["path"] == path and case["status"] == status
    ]


def body_of(case: dict[str, Any]) -> bytes:
    """Returns what is sent in a golden case."""
    return str(case["body"]).encode() if "body" in case else json.dumps(case["request"]).encode()
