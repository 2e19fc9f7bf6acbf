"""Which marks say that a call's usage may repeat its children's."""

import msgspec
import pytest

from aggregator.calls.rollup_marks import Attributes, any_attributes, is_from_js_sdk


@pytest.mark.parametrize(
    "attributes",
    [b'{"weave":{"source":"js-sdk","os":{}}}', b'{"x":[1],"weave":{"source":"js\\u002dsdk"}}'],
)
def test_the_typescript_sdk_is_known_by_its_attributes(attributes: bytes) -> None:
    """However the text is spelled in JSON, and whatever else is there."""
    assert is_from_js_sdk(msgspec.json.decode(attributes, type=Attributes))
    assert is_from_js_sdk(any_attributes(attributes))


@pytest.mark.parametrize(
    "attributes",
    [
        b"null",
        b"5",
        b'["weave"]',
        b'{"source":"js-sdk"}',
        b'{"weave":"js-sdk"}',
        b'{"weave":{"source":null}}',
        b'{"weave":{"source":["js-sdk"]}}',
        b'{"weave":{"source":"js-sdk "}}',
        b'{"weave":{"source":"\\\\js-sdk"}}',
        b'{"weave":{"source":"python-sdk"}}',
    ],
)
def test_other_attributes_say_nothing(attributes: bytes) -> None:
    """Other attributes, of whatever type, mark nothing and are no error."""
    assert not is_from_js_sdk(any_attributes(attributes))
