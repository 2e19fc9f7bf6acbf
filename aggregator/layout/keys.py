"""What a shard keeps in Redis: the keys, their fields, and why that shape.

Every key of a shard carries its hash tag `{namespace/topic/partition}`, so a shard lives in one slot of a Redis
Cluster. `P` is the project's number in the shard, `D` a UTC day since 1970, `V` a view's number on that day.

    {tag}:next            string  next offset: the fence, written with everything else in one step; `10+5000` where
                                  5,000 elements of the batch that is message 10 are applied already; sealing adds ":"
                                  and random digits, so that what was read before it is not applied after it;
                                  so does each batch from then on: where Redis forgot a state, that of the same offset
                                  that takes its place may hold the same in other forms
    {tag}:attempt         string  the step that was begun last, where it might end its worker (layout/attempt.py)
    {tag}:waiting         hash    P + packed call id -> an end whose start has not come (layout/event_text.py)
    {tag}:log             hash    topic_id of the topic that is folded; leader_epoch of the message before the next
                                  offset (-1: not known)
    {tag}:shard           hash    layout version, next record number, as-of time, counters for operations;
                                  short_rollup: project and id of a call that states less than the calls below it
    {tag}:writer          hash    session: random bytes, drawn anew whenever Redis may have lost something;
                                  retention: what the writer keeps (aggregator/layout/kept.py)
    {tag}:unpriced        hash    how many calls have no cost, by model (aggregator/layout/unpriced.py)
    {tag}:unread          hash    names in usage without a count, by project id and model (aggregator/layout/unread.py)
    {tag}:projects        hash    project id -> P; no P is given twice, also when the project has gone
    {tag}:until           hash    P -> until when something of it is kept (aggregator/layout/kept_project.py)
    {tag}:ids             hash    P + packed call id -> record number, of calls that came lately
    {tag}:idp             hash    page number -> record numbers by hashed id, of calls that came before; and `table`
                                  (aggregator/layout/id_pages.py)
    {tag}:calls:C         hash    record number % 512 -> packed Call; C = record number // 512, so a batch of
                                  new calls is a few wide writes, and what expires together lies together;
                                  sealed records: field "z" (aggregator/layout/sealed_calls.py)
    {tag}:P:views:D       hash    packed View -> V; `full:S` marks a set of dimensions that is full
    {tag}:P:r:L:B         hash    place (slot in block B of level L: m, f, h; and V) -> packed Cell;
                                  place + "r" + series -> its rows beside the cell; place + "s" + series -> its sketches
                                  sealed cells: fields "z..." (aggregator/layout/sealed.py)
                                  minutes that a coarser level lacks: field "o" (aggregator/layout/open_minutes.py)
    {tag}:open_minutes    hash    P + ":" + D of days with minutes that the coarser levels lack -> which
    {tag}:unsealed_calls  hash    full chunks of calls that have records which are not sealed -> nothing
    {tag}:unsealed        hash    pieces of blocks that have cells which are not sealed -> nothing
    {tag}:unsealed_postings  hash  P + ":" + D of postings that came since those of that day were last moved to pages
    {tag}:unmoved_postings  hash  P + ":" + D of pages of postings that are to go into objects -> nothing, or `begun`
                                  where some of them have
    {tag}:unmoved_minutes hash    P + ":" + D of days with busy minutes that are to go into objects -> the names of
                                  objects that some have come back from, by spaces
    {tag}:unmoved_calls   hash    chunks of calls whose frame is to go into an object -> when the newest of them began
    {tag}:unmoved         hash    blocks that have frames in Redis which are to go into objects -> nothing
    {tag}:objects         hash    name of an object -> which blocks point into it (aggregator/layout/moved.py)
    {tag}:retired         hash    name of an object that nothing points into -> since when (microseconds since 1970)
    {tag}:P:v:L:B         hash    slot in block B of level L -> its version: random bytes, drawn anew by every batch
                                  that changes a cell of the slot; of minutes also when the latest call began
                                  (aggregator/layout/slot_versions.py)
    {tag}:P:x:K:D         hash    value -> postings: numbers of the calls of day D that have the value in index K
                                  (aggregator/layout/postings.py)
    {tag}:P:y:K:D         hash    block number + ":" + value -> a full block of postings
    {tag}:P:w:D           hash    page number -> postings of all indexes by hashed value, of values to which nothing has
                                  come for a while; and `table` (aggregator/layout/posting_pages.py); of pages that
                                  have moved into objects `moved` (aggregator/layout/moved_postings.py)
    {tag}:P:z:K:D         zset    the distinct refs of index K, by name, for prefixes
    {tag}:P:busy:D        hash    first calls of busy minutes of day D (aggregator/layout/first_calls.py), and which
                                  calls are theirs (aggregator/layout/minute_calls.py); of those that have moved into
                                  objects, where they are (aggregator/layout/moved_minutes.py)
    {tag}:P:open:T        hash    record number -> open call of trace T (aggregator/layout/open_calls.py)

Outside the shards, two sets per namespace say which shards hold a project (`namespace:project:<id>`) and which there
are (`namespace:shards`), and a sorted set has all projects by name (`namespace:projects`). A project's set expires when
nothing of the project is kept any more; some worker then takes its name out of the sorted set
(aggregator/store/project_registry.py).
Beside `namespace:shards`, in its slot, the hash `{namespace:shards}:counted` says of each topic when all its partitions
were known there. `{namespace:shards}:grown` says when topics got more partitions, and
`namespace:claims:<topic>:D:<part>` which partition counts a call that may come through several
(aggregator/store/elsewhere.py).
`base:live` names the namespace of the live generation (aggregator/store/generation.py); without it that is the base.
In its slot, `{base:live}:lease` is the lease of the rebuild that hands over, for as long as that says it lives.
"""

from typing import NamedTuple

from aggregator.rollups.levels import Level
from aggregator.time_units import DAY_US

LAYOUT_VERSION = 15
# 14 has pages of ids and columns of frames in older forms alone, which are read as they are: such a shard is of this
# version from what is written to it next, so that no worker or api of before takes the newer forms for something else.
LAYOUTS_READ = range(14, LAYOUT_VERSION + 1)
# Sealed together, and read together: of 256, a call takes 21.1 bytes of a frame and one alone is read in 0.53 ms on a
# busy machine; of 512, 19.5 and 0.62; of 1,024, 18.7 and 0.80.
CALLS_PER_CHUNK = 512
SHORT_ROLLUP = "short_rollup"
PROJECT_BYTES = 4
SESSION_BYTES = 8
VERSION_BYTES = 8  # random: two batches never draw the same, also not before and after Redis forgot one

MINUTE, TRACE, PARENT, THREAD, TURN, INPUT_REF, OUTPUT_REF = INDEXES = "mtphuio"


class ShardName(NamedTuple):
    """Which shard: a partition of a topic, in a namespace of keys."""

    namespace: str
    topic: str
    partition: int

    @property
    def tag(self) -> str:
        """The hash tag that every key of the shard begins with."""
        return f"{{{self.namespace}/{self.topic}/{self.partition}}}"


class ShardKeys:
    """The names of a shard's keys."""

    def __init__(self, shard: ShardName) -> None:
        self._tag = shard.tag
        self.next = f"{self._tag}:next"
        self.log = f"{self._tag}:log"
        self.waiting = f"{self._tag}:waiting"
        self.attempt = f"{self._tag}:attempt"
        self.shard = f"{self._tag}:shard"
        self.writer = f"{self._tag}:writer"
        self.projects = f"{self._tag}:projects"
        self.until = f"{self._tag}:until"
        self.ids = f"{self._tag}:ids"
        self.id_pages = f"{self._tag}:idp"
        self.unpriced = f"{self._tag}:unpriced"
        self.unread = f"{self._tag}:unread"
        self.open_minutes = f"{self._tag}:open_minutes"
        self.unsealed = f"{self._tag}:unsealed"
        self.unsealed_calls = f"{self._tag}:unsealed_calls"
        self.unsealed_postings = f"{self._tag}:unsealed_postings"
        self.unmoved = f"{self._tag}:unmoved"
        self.unmoved_postings = f"{self._tag}:unmoved_postings"
        self.unmoved_minutes = f"{self._tag}:unmoved_minutes"
        self.unmoved_calls = f"{self._tag}:unmoved_calls"
        self.objects = f"{self._tag}:objects"
        self.retired = f"{self._tag}:retired"

    def calls(self, chunk: int) -> str:
        return f"{self._tag}:calls:{chunk}"

    def views(self, project: int, day: int) -> str:
        return f"{self._tag}:{project}:views:{day}"

    def rollups(self, project: int, level: Level, block: int) -> str:
        return f"{self._tag}:{project}:r:{level.letter}:{block}"

    def versions(self, project: int, level: Level, block: int) -> str:
        return f"{self._tag}:{project}:v:{level.letter}:{block}"

    def postings(self, project: int, index: str, day: int) -> str:
        return f"{self._tag}:{project}:x:{index}:{day}"

    def posting_blocks(self, project: int, index: str, day: int) -> str:
        return f"{self._tag}:{project}:y:{index}:{day}"

    def posting_pages(self, project: int, day: int) -> str:
        return f"{self._tag}:{project}:w:{day}"

    def refs(self, project: int, index: str, day: int) -> str:
        return f"{self._tag}:{project}:z:{index}:{day}"

    def busy_minutes(self, project: int, day: int) -> str:
        return f"{self._tag}:{project}:busy:{day}"

    def open_calls(self, project: int, trace: bytes) -> bytes:
        return f"{self._tag}:{project}:open:".encode() + trace


# The fence of a shard that has moved to another generation holds this, what it held before, and whose lease moved it.
MOVED = b"moved:"
SEALED = b":"  # between the next offset and what sealing drew
BY_LEASE = b":~"  # before the lease of the rebuild that moved it; earlier versions read it as what sealing drew


def stored_offset(fence: bytes | None) -> int | None:
    """The next offset that a fence holds, also of a shard that has moved away; None for none."""
    written = _unsealed(fence).partition(b"+")[0]
    return int(written) if written else None


def stored_element(fence: bytes | None) -> int:
    """How many elements of the message at the next offset are applied, by what a fence holds."""
    return int(_unsealed(fence).partition(b"+")[2] or 0)


def _unsealed(fence: bytes | None) -> bytes:
    return (fence or b"").removeprefix(MOVED).partition(SEALED)[0]


def moved_by(fence: bytes | None) -> str | None:
    """The lease of the rebuild that has moved a shard away; empty for a rebuild of a version that had no leases; None
    for a shard that has not moved.
    """
    if fence is None or not fence.startswith(MOVED):
        return None
    return fence.partition(BY_LEASE)[2].decode()


def refused_layout(shard: str, stored: int) -> str | None:
    """Return why a shard of a stored layout is not read, and what to do; None where it is read."""
    if stored in LAYOUTS_READ:
        return None
    remedy = "run the newer version" if stored > LAYOUT_VERSION else "run `callmeter rebuild` with this version"
    return f"shard {shard} has layout {stored}, this version knows {LAYOUT_VERSION}: {remedy}"


def fence_at(next_offset: int, element: int) -> bytes:
    """Return what a fence holds."""
    return b"%d+%d" % (next_offset, element) if element else b"%d" % next_offset


def project_registry(namespace: str, project_id: str) -> str:
    """The set of shards that hold a project."""
    return f"{namespace}:project:{project_id}"


def projects_by_name(namespace: str) -> str:
    """The sorted set of all projects that a shard of the namespace has begun to hold, all with the score 0."""
    return f"{namespace}:projects"


def shard_registry(namespace: str) -> str:
    """The set of all shards of a namespace."""
    return f"{namespace}:shards"


def counted_topics(namespace: str) -> str:
    """The hash of when the partitions of each topic were last counted, in the slot of the registry and lost with it."""
    return f"{{{shard_registry(namespace)}}}:counted"


def grown_topics(namespace: str) -> str:
    """The hash of how many partitions each topic has, and when it got them: `6:1767225600000000` (0: always had)."""
    return f"{{{shard_registry(namespace)}}}:grown"


def claims_prefix(namespace: str) -> str:
    """Return what all keys of claims begin with."""
    return f"{namespace}:claims:"


def claims_key(namespace: str, topic: str, day: int, part: int) -> str:
    """A hash of the calls of a day that may come through several partitions: project, a zero byte, packed id -> the
    partition that counts the call.
    """
    return f"{claims_prefix(namespace)}{topic}:{day}:{part}"


def alert_keys(namespace: str) -> tuple[str, str, str, str, str]:
    """The keys of alerts: lease, term, episodes, outbox, and what is shown of rules."""
    tag = f"{{{namespace}:alerts}}"
    return f"{tag}:lease", f"{tag}:term", f"{tag}:episodes", f"{tag}:outbox", f"{tag}:shown"


def shard_member(shard: ShardName) -> str:
    """A shard as a member of a registry."""
    return f"{shard.topic}/{shard.partition}"


def member_shard(namespace: str, member: str) -> ShardName:
    """The shard that `shard_member` named."""
    topic, _, partition = member.rpartition("/")
    return ShardName(namespace, topic, int(partition))


def id_field(project: int, packed_id: bytes) -> bytes:
    """A call id as a field of `ids`."""
    return project.to_bytes(PROJECT_BYTES, "big") + packed_id


def named_by(field: bytes) -> tuple[int, bytes]:
    """The project and the packed id that `id_field` was given."""
    return int.from_bytes(field[:PROJECT_BYTES], "big"), field[PROJECT_BYTES:]


def day_of(time_us: int) -> int:
    """UTC days since 1970."""
    return time_us // DAY_US
