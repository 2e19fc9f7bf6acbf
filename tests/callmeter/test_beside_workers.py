"""Steps beside live workers: taken again while they are outrun, and given up in the end."""

import pytest

from aggregator.store.shard_store import Fenced
from callmeter import beside_workers as module
from callmeter.beside_workers import TRIES_MAX, Outrun, beside_workers


class Worker:
    """A live worker that gets ahead of the first so many steps."""

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        self.done: list[str] = []

    def step(self) -> str:
        """Raises Fenced while the worker is ahead."""
        self.done.append("step")
        if self.ahead:
            self.ahead -= 1
            raise Fenced("the worker was faster")
        return "written"

    def look_again(self) -> None:
        self.done.append("look")


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits."""
    monkeypatch.setattr(module, "PAUSE_S", 0)


def test_looks_again_before_each_new_try() -> None:
    """A step that is outrun twice is taken three times, with a look before the second and the third."""
    worker = Worker(ahead=2)
    assert beside_workers(worker.step, worker.look_again) == "written"
    assert worker.done == ["step", "look", "step", "look", "step"]


@pytest.mark.parametrize("ahead", [TRIES_MAX - 1, TRIES_MAX])
def test_gives_up_after_the_last_try(ahead: int) -> None:
    """The last try may succeed; one refusal more, and it is told that the worker is faster."""
    worker = Worker(ahead)
    if ahead < TRIES_MAX:
        assert beside_workers(worker.step) == "written"
    else:
        with pytest.raises(Outrun, match="without pause"):
            beside_workers(worker.step)
    assert worker.done == ["step"] * TRIES_MAX


def test_a_shard_that_has_moved_away_is_not_tried_on() -> None:
    """A look that is refused ends the tries: a rebuild has taken the shard, and no pause helps."""
    worker = Worker(ahead=9)

    def moved() -> None:
        raise Fenced("has moved away")

    with pytest.raises(Fenced, match="moved away"):
        beside_workers(worker.step, moved)
    assert worker.done == ["step"]
