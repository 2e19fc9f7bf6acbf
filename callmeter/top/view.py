"""What a terminal looks at: project, window, dimension, order, filters; pure values, one key away from the next."""

from typing import Any, Literal, NamedTuple, TypeAlias

Dimension: TypeAlias = Literal["op_name", "model", "wb_user_id", "wb_run_id"]
Kind: TypeAlias = Literal["failing", "newest", "slowest", "dearest"]

DIMENSIONS: dict[Dimension, str] = {"op_name": "op", "model": "model", "wb_user_id": "user", "wb_run_id": "run"}
# The word of a filter, and the field of a request's filter.
FILTER_FIELDS = {
    "op": "op_names",
    "user": "wb_user_ids",
    "run": "wb_run_ids",
    "trace": "trace_ids",
    "call": "call_ids",
    "thread": "thread_ids",
}
# What is known of a model's calls beside their usage; a call without usage belongs to none.
ORDERS_OF_MODELS = ("count", "sum_total_tokens", "sum_total_cost")
WINDOWS_S = (900, 3_600, 10_800, 21_600, 43_200, 86_400, 604_800, 2_592_000)
KINDS: tuple[Kind, ...] = ("failing", "newest", "slowest", "dearest")


class View(NamedTuple):
    """`filters` are pairs of a word (`op`) and a value; `containing` narrows the rows that are shown, by their name."""

    project_id: str
    window_s: int = 3_600
    dimension: Dimension = "op_name"
    order_by: str = "count"
    order: Literal["desc", "asc"] = "desc"
    kind: Kind = "failing"
    filters: tuple[tuple[str, str], ...] = ()
    roots_only: bool = False
    containing: str = ""

    @property
    def filter(self) -> dict[str, Any]:
        """The `filter` of a request: values of one field are alternatives, fields all apply."""
        found: dict[str, Any] = {}
        for word, value in self.filters:
            found.setdefault(FILTER_FIELDS[word], []).append(value)
        return found | ({"trace_roots_only": True} if self.roots_only else {})

    def ordered_by(self, key: str) -> "View":
        """Ordered by this, most first; the other way round where it is so already."""
        turned = self.order_by == key and self.order == "desc"
        return self._replace(order_by=key, order="asc" if turned else "desc")

    def longer(self, steps: int) -> "View":
        """The window some steps longer or, below 0, shorter."""
        nearest = min(range(len(WINDOWS_S)), key=lambda index: abs(WINDOWS_S[index] - self.window_s))
        return self._replace(window_s=WINDOWS_S[max(0, min(len(WINDOWS_S) - 1, nearest + steps))])

    def narrowed(self, value: object) -> "View | None":
        """Into one row: filtered by its value, and by what is then of interest; None where there is no such filter."""
        word = DIMENSIONS[self.dimension]
        if word not in FILTER_FIELDS or not isinstance(value, str) or not value:
            return None
        others = tuple(one for one in self.filters if one[0] != word)
        following: Dimension = "wb_user_id" if self.dimension == "op_name" else "op_name"
        return self._replace(filters=(*others, (word, value)), dimension=following, containing="")

    def typed(self, text: str) -> "View":
        """Return what somebody typed after `/`: `op:answer`, `user:…`, `roots`, or letters that a row's name
        must hold.
        """
        word, colon, value = text.strip().partition(":")
        if colon and value.strip() and word in FILTER_FIELDS:
            return self._replace(filters=(*self.filters, (word, value.strip())), containing="")
        if text.strip() == "roots":
            return self._replace(roots_only=not self.roots_only)
        return self._replace(containing=text.strip())
