"""The S3 server of chaos: what it has answered for is there after kill -9, and it dies at the put it was told to."""

from pathlib import Path

import pytest

from aggregator.objects.bucket_store import BucketStore
from aggregator.objects.object_store import ObjectMissing, ObjectStoreAway
from tests.pipeline.patience import wait_until
from tests.servers.s3_server import S3Server


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_a_put(when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before an object is kept it does not have it; killed before it answers it does."""
    server = S3Server(tmp_path, keeps=True)
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.start()
    bucket = BucketStore(server.url)
    for name in ("kept", "deleted"):
        bucket.put(name, name.encode())
    bucket.delete(["deleted"])
    assert server.pid is not None
    server.kill_at_next_put(server.pid, "before" if when == "before" else "after")
    with pytest.raises(ObjectStoreAway):
        bucket.put("killer", b"content")
    assert wait_until(lambda: not server.running, 10)
    server.kill()
    server.start()
    assert [one.name for one in bucket.listed("")] == (["kept"] if when == "before" else ["kept", "killer"])
    assert bucket.read_whole("kept") == b"kept"
    with pytest.raises(ObjectMissing):
        bucket.read_whole("deleted")
    server.kill()
