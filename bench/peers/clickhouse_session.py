"""ClickHouse (chdb) in a process of its own: each line of standard input is JSON `{"sql": ...}`, each line of output
JSON `{"seconds": ..., "rows": [...]}` or `{"error": ...}`. The argument is the directory of its tables.
"""

import json
import sys
import time

from chdb import session  # type: ignore[import-not-found]


def main(directory: str) -> None:
    """Answer until standard input ends."""
    opened = session.Session(directory)
    for line in sys.stdin:
        begun_s = time.perf_counter()
        try:
            text = str(opened.query(json.loads(line)["sql"], "JSONCompact"))
        except Exception as failed:  # told to the process that asked
            print(json.dumps({"error": str(failed)}), flush=True)
            continue
        seconds = time.perf_counter() - begun_s
        print(json.dumps({"seconds": seconds, "rows": json.loads(text)["data"] if text else []}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
