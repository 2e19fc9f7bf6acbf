"""Finding the records of ids in the shards of a project."""

from collections.abc import Sequence

from aggregator.layout.id_search import READS_MAX, IdSearch, IdsInShard
from aggregator.layout.keys import id_field
from aggregator.store.reader import OpenedProject, ProjectShard, StateLost, StoreReader

Numbers = dict[ProjectShard, set[int]]
"""Record numbers by shard."""


async def find_numbers(
    reader: StoreReader, project: OpenedProject, packed_ids: Sequence[bytes]
) -> tuple[Numbers, Numbers]:
    """The numbers of records that have one of these ids; and of those that may have one: who reads them sees.

    Raises StateLost where ids are moved again and again.
    """
    shards = project.shards
    search = IdSearch(
        [IdsInShard(shard.keys, [id_field(shard.project, packed) for packed in packed_ids]) for shard in shards],
        reader.id_tables,
    )
    for _ in range(READS_MAX):
        commands = search.commands()
        if not commands:
            return (
                {shards[at]: numbers for at, numbers in search.known.items()},
                {shards[at]: numbers for at, numbers in search.possible.items()},
            )
        search.take(await reader.fetch(commands))
    raise StateLost("ids were moved again and again while they were read")
