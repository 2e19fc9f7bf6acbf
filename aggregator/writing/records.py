"""The call records a writer has at hand: a bounded cache by number and by id, and new numbers for new records."""

from collections.abc import Iterable
from itertools import islice

from aggregator.calls.call import Call
from aggregator.layout.keys import id_field, named_by


class Records:
    """Records by number, numbers by id. What is not here must be loaded before a batch is folded."""

    def __init__(self, projects: dict[str, int], next_number: int, projects_numbered: int = 0) -> None:
        self.projects = projects
        # A number is not given again when its project has gone: keys with it may still be there.
        self.projects_numbered = max(projects_numbered, *projects.values(), 0)
        self._project_ids = {number: project_id for project_id, number in projects.items()}
        self.next_number = next_number
        self.numbers: dict[bytes, int] = {}
        self.calls: dict[int, Call] = {}

    def project(self, project_id: str) -> int:
        """The project's number, a new one for a new project."""
        number = self.projects.get(project_id)
        if number is None:
            self.projects_numbered += 1
            number = self.projects[project_id] = self.projects_numbered
            self._project_ids[number] = project_id
        return number

    def forget_project(self, project_id: str) -> None:
        """Drop a project of which there are no records any more."""
        del self._project_ids[self.projects.pop(project_id)]

    def project_id(self, number: int) -> str:
        """The project that has this number."""
        return self._project_ids[number]

    def at(self, field: bytes, seen_us: int) -> tuple[int, Call]:
        """The record of an id field, with its number; a new one where there is none."""
        number = self.numbers.get(field)
        return self.new(field, seen_us) if number is None else (number, self.calls[number])

    def new(self, field: bytes, seen_us: int) -> tuple[int, Call]:
        """A record for an id field that has none, with its number."""
        number = self.numbers[field] = self.next_number
        self.next_number += 1
        call = self.calls[number] = Call(*named_by(field), seen_us)
        return number, call

    def put(self, number: int, call: Call) -> None:
        """Take in a loaded record."""
        self.numbers[id_field(call.project, call.packed_id)] = number
        self.calls[number] = call

    def forget(self, number: int) -> None:
        """Drop a record, if it is here."""
        call = self.calls.pop(number, None)
        if call is not None:
            self.numbers.pop(id_field(call.project, call.packed_id), None)

    def trim(self, used: Iterable[int], calls_max: int) -> None:
        """Keep the records used last: those of `used`, then others, `calls_max` in all (more where `used` is more)."""
        for number in used:
            call = self.calls.pop(number, None)
            if call is not None:
                self.calls[number] = call
        excess = len(self.calls) - calls_max
        if excess > 0:
            for number in list(islice(self.calls, excess)):
                self.forget(number)
