"""Our OpenAPI document agrees with the contract in tests/schemas."""

from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

from api.contract.openapi import openapi_document
from tests.support.paths import SCHEMAS

STATS = "calls-stats.openapi.yaml"
USAGE = "calls-usage.cache-fields.openapi.yaml"
# Beyond the contract: what the access, the limits and the store add to each endpoint.
ADDED_STATUSES = {"401", "403", "405", "408", "413", "500", "503"}


def contract(file: str) -> dict[str, Any]:
    """One document of the contract."""
    document: dict[str, Any] = yaml.safe_load((SCHEMAS / file).read_text())
    return document


def resolved(node: Any, document: dict[str, Any], described: bool) -> Any:
    """The node with every reference replaced by what it refers to; `described` False: without descriptions."""
    if isinstance(node, list):
        return [resolved(element, document, described) for element in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return resolved(document["components"]["schemas"][name], document, described)
    described_away = () if described else ("description",)
    return {key: resolved(value, document, described) for key, value in node.items() if key not in described_away}


@pytest.mark.parametrize(
    ("file", "path", "described"),
    # The descriptions of the newer usage document are Japanese, and of a way of counting that is not ours.
    [(STATS, "/calls/stats", True), (USAGE, "/calls/usage", False)],
)
def test_operations_agree(file: str, path: str, described: bool) -> None:
    """Request, answer and validation error have the contract's schemas, to the last title and default."""
    document = contract(file)
    theirs = document["paths"][path]["post"]
    ours = openapi_document()["paths"][path]["post"]
    for place in (["requestBody"], ["responses", "200", "content"], ["responses", "422", "content"]):
        our_part, their_part = ours, theirs
        for step in place:
            our_part, their_part = our_part[step], their_part[step]
        assert resolved(our_part, openapi_document(), described) == resolved(their_part, document, described)
    assert (ours["operationId"], ours["tags"]) == (theirs["operationId"], theirs["tags"])
    assert set(ours["responses"]) - set(theirs["responses"]) == ADDED_STATUSES


@pytest.mark.parametrize("file", [STATS, USAGE])
def test_schemas_have_their_names(file: str) -> None:
    """Generated clients get classes of the same names."""
    assert set(contract(file)["components"]["schemas"]) <= set(openapi_document()["components"]["schemas"])


def test_usage_answer_has_the_older_fields() -> None:
    """The fields that clients of the older usage document read are there, unchanged."""
    older = contract("calls-usage.openapi.yaml")["components"]["schemas"]["LLMAggregatedUsage"]["properties"]
    ours = openapi_document()["components"]["schemas"]["LLMAggregatedUsage"]["properties"]
    assert {name: ours[name] for name in older} == older


def test_security() -> None:
    """Both endpoints ask for HTTP Basic, as the contract does."""
    document = openapi_document()
    assert document["components"]["securitySchemes"] == contract(STATS)["components"]["securitySchemes"]
    for path in ("/calls/stats", "/calls/usage"):
        assert document["paths"][path]["post"]["security"] == [{"HTTPBasic": []}]


def test_document_is_valid() -> None:
    """The document is valid OpenAPI 3.1."""
    validate(openapi_document())
