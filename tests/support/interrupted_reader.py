"""A reader between whose commands something else happens."""

from collections.abc import Callable, Sequence
from typing import Any

from aggregator.store.reader import Command, StoreReader


class InterruptedReader(StoreReader):
    """Lets something happen before every command."""

    def __init__(self, client: Any, namespace: str, before: Callable[[], object]) -> None:
        super().__init__(client, namespace)
        self._before = before

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        replies = []
        for command in commands:
            self._before()
            replies += await super().fetch([command])
        return replies
