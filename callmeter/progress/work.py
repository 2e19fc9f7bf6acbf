"""How far counted work is, with rate and time left."""

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from callmeter.progress.shown import Shown


class WorkProgress(Shown):
    """A context manager around work of `total` units, named by `unit`; `total` may grow while the work goes on."""

    def __init__(self, what: str, unit: str, total: int) -> None:
        super().__init__(
            what,
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        self.total = total
        self._unit = unit
        self.done = 0

    def add(self, done: int) -> None:
        """Count so much more as done, and show it if it is time to."""
        self.done += done
        if (elapsed_s := self.elapsed_if_due_s()) is None:
            return
        rate = self.done / elapsed_s
        left_s = round((self.total - self.done) / rate) if rate else None
        fields = {self._unit: self.done, "of": self.total, "per_second": round(rate), "seconds_left": left_s}
        self.show(self.done, self.total, f"{rate:,.0f} {self._unit}/s", fields)
