"""Generated requests, good and bad, meet the OpenAPI document: no 5xx, no status or body that it does not name."""

import pytest
from hypothesis import HealthCheck, settings

from tests.support.asking import app_of

schemathesis = pytest.importorskip("schemathesis")

# Requests per endpoint; all four take a few seconds.
EXAMPLES_MAX = 100

schema = schemathesis.openapi.from_asgi("/openapi.json", app_of())
schema.config.generation.update(modes=list(schemathesis.GenerationMode))


@schema.parametrize()  # type: ignore[untyped-decorator]
@settings(max_examples=EXAMPLES_MAX, deadline=None, suppress_health_check=list(HealthCheck))
def test_document_is_kept(case) -> None:  # type: ignore[no-untyped-def]
    """Whatever is sent, the response is one that the document describes."""
    checks = schemathesis.checks
    case.call_and_validate(
        checks=[
            checks.not_a_server_error,
            schemathesis.specs.openapi.checks.status_code_conformance,
            schemathesis.specs.openapi.checks.content_type_conformance,
            schemathesis.specs.openapi.checks.response_schema_conformance,
        ]
    )
