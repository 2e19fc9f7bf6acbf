"""Made-up figures, round so that a plan can be worked out by hand."""

from typing import Any

from callmeter.planning.figures import Figures, figures_of

# One worker folds 10,000 events/s of 1 KB; nothing grows with models, ops or projects unless a test says so.
SECTIONS: dict[str, Any] = {
    "ingest_ceiling": {
        "measured": "2026-01-02",
        "machine": "2 cores",
        "short": False,
        "figures": {
            "worker_us_per_event.1000": 100.0,
            "worker_us_per_event.16000": 400.0,
            "worker_cpu_us_per_event.1000": 80.0,
            "redis_cpu_us_per_event.1000": 10.0,
        },
    },
    "scaling": {
        "measured": "2026-01-03",
        "machine": "2 cores",
        "short": True,
        "figures": {"cpu_us_by_models.5": 50.0, "cpu_us_by_projects.1": 50.0, "cpu_us_by_ops.20": 50.0},
    },
    "memory": {
        "measured": "2026-01-02",
        "machine": "2 cores",
        "short": False,
        "figures": {
            "worker_resident_bytes": 200e6,
            "record_bytes_per_call": 200.0,
            "index_bytes_per_call": 100.0,
            "view_bytes": 50.0,
            "busy_bytes_per_call": 5.0,
            **{f"slot_bytes.{letter}.{calls}": size for letter in "mfh" for calls, size in ((1, 100), (10_000, 1_000))},
            **{f"model_bytes.{letter}.{calls}": size for letter in "mfh" for calls, size in ((1, 200), (100, 800))},
        },
    },
    "sealing": {
        "measured": "2026-01-02",
        "machine": "2 cores",
        "short": False,
        "figures": {
            "sealed_share.records": 0.1,
            "sealed_share.m": 0.2,
            "moved_share.records": 0.02,
            "object_share.records": 0.09,
        },
    },
    "answers": {
        "measured": "2026-01-02",
        "machine": "2 cores",
        "short": False,
        "figures": {
            "answer_floor_ms": 1.0,
            "answer_ms_per_partition": 0.1,
            "answer_ms.30 d sums.1000000": 11.0,
            "answer_ms.30 d sums.100000000": 21.0,
            "answer_first_ms.30 d sums.1000000": 31.0,
            "answer_first_ms.30 d sums.100000000": 41.0,
        },
    },
}


def round_figures(**more: float) -> Figures:
    """The made-up figures; `more` of them by name, `__` for a dot."""
    added = {name.replace("__", "."): value for name, value in more.items()}
    return figures_of({**SECTIONS, "more": {**SECTIONS["scaling"], "figures": added}})
