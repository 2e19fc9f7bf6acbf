"""What every section of the settings is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Fields that never change, and no other ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")
