"""Times bursts of errors from Kafka to a webhook, with kills -9 of workers and alerters around them.

    python -m bench.bursts [bursts] [--unnamed]     # default: 100; --unnamed: workers without names in their group

Each burst goes to one partition; half of the bursts see that partition's worker killed, half an alerter, just before it
or up to 1.2 s after it. Who was killed is started again after half a second, as a supervisor would.
"""

import random
import sys
from collections import Counter
from collections.abc import Sequence

from bench.measuring import percentile
from bench.scale import tell
from bench.stage import Stage
from tests.support.bursts import Told, bursting

BURSTS = 100
SEED = 15


def main(arguments: Sequence[str]) -> None:
    """Print how long it took, by what was killed, and how often each was told."""
    bursts = next((int(one) for one in arguments if one.isdigit()), BURSTS)
    turns, told = random.Random(SEED), []
    with Stage() as stage:
        where = (stage.bootstrap_servers, stage.redis_server.url, stage.directory)
        with bursting(*where, named="--unnamed" not in arguments) as all_running:
            for number in range(bursts):
                told.append(all_running.burst(number, turns))
                tell(f"{told[-1].op}: {told[-1].after_s:.1f} s, killed: {told[-1].killed}")
            times, repeats = all_running.times_told(), all_running.repeats()
    for killed in sorted({one.killed for one in told}):
        _print(f"killed: {killed}", [one for one in told if one.killed == killed])
    _print("all", told)
    often = ", ".join(f"{many} {times} times" for times, many in sorted(Counter(times.values()).items()))
    sys.stdout.write(f"beginnings and ends told, of {2 * bursts}: {often}; {repeats} of them again under their id\n")


def _print(what: str, told: Sequence[Told]) -> None:
    waits = sorted(one.after_s for one in told)
    figures = [f"p{part} {percentile(waits, part):.1f} s" for part in (50, 90, 99)]
    sys.stdout.write(f"{what:34} {len(waits):3} bursts: {', '.join(figures)}, at most {waits[-1]:.1f} s\n")


if __name__ == "__main__":
    main(sys.argv[1:])
