"""`GET /projects` on the wire: its query parameters, checked and turned into a ProjectsQuestion, and the answer."""

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.contract.field_types import InstantUs
from api.query.projects_answer import ProjectsQuestion
from api.refusals import invalid

# Projects of one answer, some 10 µs each; beyond that a list is searched by prefix.
PROJECTS_MAX = 1_000
PREFIX_BYTES_MAX = 256


class ProjectsReq(BaseModel):
    """Which projects to list."""

    model_config = ConfigDict(extra="forbid")

    prefix: str = Field(
        default="", max_length=PREFIX_BYTES_MAX, description="Only projects whose names begin with this."
    )
    limit: int = Field(
        default=PROJECTS_MAX, ge=1, le=PROJECTS_MAX, description="How many projects the answer has, by name."
    )


class Project(BaseModel):
    """A project of which events have been applied."""

    project_id: str
    as_of: InstantUs | None = Field(description="Events up to this instant have been applied; null: not known")
    lag_seconds: float | None = Field(description="Seconds from `as_of` to the answer")


class ProjectsRes(BaseModel):
    """Projects that the key may read, in the order of their names."""

    projects: list[Project]
    more: bool = Field(description="Whether there are more projects that begin with `prefix`")


def read_projects_question(parameters: Mapping[str, str], readable: Iterable[str] | None) -> ProjectsQuestion:
    """The question of a query string; `readable`: the projects that the key is for, None: every one.

    Raises Refusal (422).
    """
    try:
        request = ProjectsReq.model_validate_strings(dict(parameters))
    except ValidationError as wrong:
        raise invalid(wrong, "query") from None
    return ProjectsQuestion(request.prefix, request.limit, None if readable is None else tuple(readable))
