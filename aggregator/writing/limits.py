"""What bounds the memory of a shard, in its writer and in Redis, with the reasons of the defaults."""

import msgspec


class ShardLimits(msgspec.Struct, frozen=True):
    """What bounds a shard's memory, in the writer and in Redis."""

    # About 1 KB each: the calls of the last minute or so at 1,000 calls a second, so that ends find their starts.
    calls_cached_max: int = 50_000
    # About 5 KB each with full sketches: current slots of some thousand views.
    cells_cached_max: int = 20_000
    # Per project, UTC day and set of dimensions: a view busy all day takes about 1 MB, most take a few KB.
    views_max: int = 2_000
    # Of the text of an error, in records of calls that failed: enough for a sentence; 0: its class alone.
    error_bytes_max: int = 200
    # Keys whose expiry is known to be set; a key forgotten here is only told its expiry once more.
    expiries_cached_max: int = 100_000
    # One per project and UTC day with calls in it; up to views_max views in each.
    directories_cached_max: int = 500
    # Of record numbers that batches append to, with all that Python needs beside them: the indexes' values of the last
    # minutes at 1,000 calls a second, some 250 bytes each; one forgotten here is only read once more.
    posting_tails_bytes_max: int = 16 * 2**20
    # How many calls of a project make a minute of a shard busy: from then on the views are kept that its calls are of,
    # some 3 bytes a call, and the first calls of each view that has so many, 2 to 4 KB each. Where there are fewer, who
    # asks for examples reads them all, in 5 µs each. From 1,000 on keeping took a third more of the worker's time.
    busy_calls_min: int = 4_000
    # Of a view of a busy minute, by each order: as many as /calls/examples gives at most.
    first_calls_max: int = 100
    # Calls of a project that a batch must bring for a minute that it begins to be counted in the minute's cells alone
    # until it is over: of a project with fewer, batches rewrite so few coarser cells that adding them up later saves
    # nothing.
    open_calls_min: int = 8
    # A minute that is over for longer when its first call comes is counted in all levels at once: of a backlog each
    # minute comes in a few batches.
    open_within_s: int = 600
    # Minutes are added to coarser levels when their five minutes have been over for so long: most calls have ended.
    close_after_s: int = 60
    # Of a project: each is read by who asks for coarser slots, one more cell a view.
    open_minutes_max: int = 30
    # Of a shard: five-minute slots that have open minutes; of each its views are at hand, some 60 bytes each a minute.
    open_slots_max: int = 2_000
    # How long cells are left as they are after their hour, or three hours, and what is hot after what came for
    # it; None: for ever.
    seal_after_s: int | None = None
    # How long what was sealed stays in Redis after that: what comes late for many blocks then shares an object.
    move_after_s: int = 6 * 3_600
    # How long an object is kept that nothing points into: Redis may fall back to a dump, or a replica, as old as that.
    objects_grace_s: int = 7 * 86_400
    # A list of some thousand names each time.
    collect_every_s: int = 3_600
