"""`callmeter verify` of a project that nobody has sent events of."""

from click.testing import CliRunner

from callmeter.commands.verify import verify
from callmeter.settings import RedisSettings, Settings


def test_a_project_that_is_not_known(redis_url: str) -> None:
    """A wrong name is a mistake that is told, not a project without differences."""
    settings = Settings(redis=RedisSettings(url=redis_url))
    told = CliRunner().invoke(verify, ["--project", "acme/agnets"], obj=settings)
    assert (told.exit_code, "no difference" in told.output) == (1, False)
    assert "'acme/agnets'" in told.output
