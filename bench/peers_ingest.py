"""Ingest against peers that do the comparable part of the job: Quix Streams, Bytewax, and a plain loop.

The same topic on the same machine; each peer in an environment of its own, adding up tokens by minute and model in
Redis; ours with everything on. A peer whose packages cannot be installed is named with the reason.
"""

from collections.abc import Iterator
from pathlib import Path

from bench.environments import NotInstallable, output_of, python_with
from bench.folding import fold
from bench.generator import generate
from bench.ingest_ceiling import backlog
from bench.measuring import Line, Target, compared, in_turn, ratio_at_least
from bench.scale import Scale, tell
from bench.stage import Ends, Stage

# Package to install first, what else it needs here, its module, and what ours must reach.
PEERS: tuple[tuple[str, tuple[str, ...], str, Target | None], ...] = (
    ("quixstreams", ("redis[hiredis]",), "quix_streams", ratio_at_least(1.5)),
    ("bytewax", ("confluent-kafka", "redis[hiredis]", "orjson"), "bytewax_flow", ratio_at_least(1.0)),
    ("tdigest", ("confluent-kafka", "redis[hiredis]", "orjson"), "plain_loop", None),
)


def run(scale: Scale) -> Iterator[Line]:
    """A line for each peer."""
    events = scale.amount(500_000, 100_000, least=100_000)
    with Stage() as stage:
        topic = stage.new_topic()
        ends = stage.fill(topic, generate(backlog(events)), events, "events of 1 KB")
        for package, others, module, target in PEERS:
            name = f"peers: worker / {module.replace('_', ' ')}"
            try:
                python = python_with(package, *others)
            except NotInstallable as why:
                yield Line(name, absent=str(why))
                continue
            yield _against(stage, topic, ends, name, python, module, target, scale.rounds(short=2))


def _against(
    stage: Stage, topic: str, ends: Ends, name: str, python: Path, module: str, target: Target | None, rounds: int
) -> Line:
    total = sum(ends.values())
    arguments = (stage.bootstrap_servers, topic, str(total), stage.redis_server.url)

    def peer() -> float:
        seconds = float(output_of(python, f"bench.peers.{module}", *arguments).split()[-1])
        stage.redis.flushall()
        return total / seconds

    tell(f"{name}, {rounds} rounds")
    rates = in_turn(rounds, {"ours": lambda: fold(stage, topic, ends).events_per_s, "peer": peer})
    return compared(name, "events/s", rates["ours"], rates["peer"], target)
