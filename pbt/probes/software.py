"""software:event[:count]: events that the kernel itself counts."""

from __future__ import annotations

from pbt.probes.counter import Counter, family, provider
from pbt.uapi.consts import PERF_TYPE_SOFTWARE

EVENTS = (  # names, enum perf_sw_ids, events a sample
    Counter(("alignment-faults",), "ALIGNMENT_FAULTS", 1),
    Counter(("bpf-output",), "BPF_OUTPUT", 1),
    Counter(("context-switches", "cs"), "CONTEXT_SWITCHES", 1000),
    Counter(("cpu-clock", "cpu"), "CPU_CLOCK", 1_000_000),
    Counter(("cpu-migrations",), "CPU_MIGRATIONS", 1),
    Counter(("dummy",), "DUMMY", 1),
    Counter(("emulation-faults",), "EMULATION_FAULTS", 1),
    Counter(("major-faults",), "PAGE_FAULTS_MAJ", 1),
    Counter(("minor-faults",), "PAGE_FAULTS_MIN", 100),
    Counter(("page-faults", "faults"), "PAGE_FAULTS", 100),
    Counter(("task-clock",), "TASK_CLOCK", 1),
)

SOFTWARE = provider(
    family("software", PERF_TYPE_SOFTWARE, EVENTS),
    "Kernel counters: `software:page-faults:100` runs at every 100th page fault of each CPU.",
    "s",
)
