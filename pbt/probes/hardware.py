"""hardware:event[:count]: events that the processor counts."""

from __future__ import annotations

from pbt.probes.counter import Counter, family, provider
from pbt.uapi.consts import PERF_TYPE_HARDWARE

EVENTS = (  # names, enum perf_hw_id, events a sample
    Counter(("backend-stalls",), "STALLED_CYCLES_BACKEND", 1_000_000),
    Counter(("branch-instructions", "branches"), "BRANCH_INSTRUCTIONS", 100_000),
    Counter(("branch-misses",), "BRANCH_MISSES", 100_000),
    Counter(("bus-cycles",), "BUS_CYCLES", 100_000),
    Counter(("cache-misses",), "CACHE_MISSES", 1_000_000),
    Counter(("cache-references",), "CACHE_REFERENCES", 1_000_000),
    Counter(("cpu-cycles", "cycles"), "CPU_CYCLES", 1_000_000),
    Counter(("frontend-stalls",), "STALLED_CYCLES_FRONTEND", 1_000_000),
    Counter(("instructions",), "INSTRUCTIONS", 1_000_000),
    Counter(("ref-cycles",), "REF_CPU_CYCLES", 1_000_000),
)

HARDWARE = provider(
    family("hardware", PERF_TYPE_HARDWARE, EVENTS),
    "Processor counters: `hardware:cache-misses:1000` runs at every 1000th cache miss of each CPU.",
    "h",
)
