"""What a key allows: scopes beside projects, and records from before there were scopes."""

import msgspec
import pytest

from aggregator.access.key import AccessKey, Scope, new_access_key

# As every key made before there were scopes is stored.
OLD_RECORD = b'{"key_id":"k1","name":"old","secret_sha256":"x","projects":["a"],"created_us":1}'


def test_a_record_without_scopes_reads() -> None:
    """A key from before there were scopes reads its projects as ever, and sends nothing."""
    key = msgspec.json.decode(OLD_RECORD, type=AccessKey)
    assert (key.may_read("a"), key.may_read("b"), key.may_write("a")) == (True, False, False)


@pytest.mark.parametrize(
    ("scopes", "reads", "writes"),
    [(("read",), True, False), (("write",), False, True), (("read", "write"), True, True)],
)
def test_scopes(scopes: tuple[Scope, ...], reads: bool, writes: bool) -> None:
    """A key allows what its scopes say, in its projects only."""
    key, _ = new_access_key("sdk", ["a"], 1, scopes)
    assert (key.may_read("a"), key.may_write("a")) == (reads, writes)
    assert not key.may_read("b")
    assert not key.may_write("b")
    everywhere, _ = new_access_key("sdk", None, 1, scopes)
    assert (everywhere.may_read("b"), everywhere.may_write("b")) == (reads, writes)
