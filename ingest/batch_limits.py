"""How large a batch may grow, and how long it may wait for more."""

import msgspec


class BatchLimits(msgspec.Struct, frozen=True):
    """Bounds of one batch: whichever is reached first ends it."""

    # Each rollup that a batch touches is written once, so larger batches fold faster: 10,000 take a tenth less time an
    # event than 5,000. Beyond, Redis would be busy with one batch for longer than an answer should wait.
    messages_max: int = 20_000
    # With messages of 1 MB a batch is 32 of them: what is in memory at once, besides the client's own queue.
    bytes_max: int = 32 * 2**20
    # From the end of one read to that of the next: time in which messages gather. Work that takes longer has gathered
    # them already. What arrives is applied within 200 ms: this wait, and the work itself.
    wait_ms: int = 100

    @property
    def wait_s(self) -> float:
        return self.wait_ms / 1000
