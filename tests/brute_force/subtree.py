"""Which calls stand below a call: parent links inside a trace, the link that closes a ring left out (§3, §6)."""

from collections import defaultdict
from collections.abc import Iterator

# A call's place: its project, its trace, its id.
Place = tuple[str, str, str]


class Links:
    """Parent links in the order in which the starts arrived; a parent need not have arrived yet."""

    def __init__(self) -> None:
        self._parent: dict[Place, Place] = {}
        self._children: defaultdict[Place, list[Place]] = defaultdict(list)

    def add(self, project_id: str, trace_id: str, call_id: str, parent_id: str | None) -> None:
        """Link a call that has just started to its parent, unless that closes a ring."""
        if parent_id is None:
            return
        child, parent = (project_id, trace_id, call_id), (project_id, trace_id, parent_id)
        ancestor: Place | None = parent
        while ancestor is not None:
            if ancestor == child:
                return
            ancestor = self._parent.get(ancestor)
        self._parent[child] = parent
        self._children[parent].append(child)

    def subtree(self, root: Place) -> Iterator[Place]:
        """The place itself and all below it, each once."""
        waiting = [root]
        while waiting:
            place = waiting.pop()
            yield place
            waiting.extend(self._children[place])
