"""A view's values, and the sets of dimensions that have one."""

from typing import NamedTuple

# An op name, root or not, user and run each have a bit; a set of dimensions is their sum.
OP, ROOT, USER, RUN = 1, 2, 4, 8
# So has each kind of facet: a model, the class of an error, and models beyond the first of a call.
MODEL, ERROR, MORE_MODELS = 16, 32, 64
_FACET_BITS = {"m": MODEL, "e": ERROR, "+": MORE_MODELS}


def facet_dimension(facet: str) -> int:
    """The bit of a facet's kind."""
    return _FACET_BITS[facet[0]]


class View(NamedTuple):
    """The values a call must have. None: no value; with one value set, any; with several, none at all."""

    op_name: str | None = None
    root: bool | None = None
    user_id: str | None = None
    run_id: str | None = None
    facet: str | None = None

    @property
    def dimensions(self) -> int:
        """The set of dimensions that have a value."""
        return (
            OP * (self.op_name is not None)
            + ROOT * (self.root is not None)
            + USER * (self.user_id is not None)
            + RUN * (self.run_id is not None)
            + (0 if self.facet is None else facet_dimension(self.facet))
        )

    @property
    def has_trees(self) -> bool:
        """Whether its cells keep the usage of whole trees, too."""
        return self.root is not None
