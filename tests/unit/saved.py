"""A small saved machine for tests that compile: no BTF, two tracepoints, what a kernel of 6.18 has."""

from __future__ import annotations

import json
from pathlib import Path

from pbt.host.target import Target
from pbt.pipeline import Options, Work, run
from pbt.source import Source

FORMATS = {
    "sched/sched_switch": """name: sched_switch
ID: 7
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:char prev_comm[16];	offset:8;	size:16;	signed:0;
	field:pid_t prev_pid;	offset:24;	size:4;	signed:1;
""",
    "skb/kfree_skb": """name: kfree_skb
ID: 9
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;

	field:void * skbaddr;	offset:8;	size:8;	signed:0;
	field:unsigned short protocol;	offset:16;	size:2;	signed:0;
""",
}
FACTS = {
    "layout": 1, "arch": "x86_64", "release": "6.18.0", "page_size": 4096, "cpus": [0, 1], "online": [0, 1],
    "features": ["cpu_v4", "get_func_ip", "ktime_get_boot_ns", "probe_read_kernel", "ringbuf"],
}  # fmt: skip


def machine(folder: Path, **facts: object) -> Target:
    """The saved machine in a folder, with other facts if given."""
    for name, text in FORMATS.items():
        event = folder / "tracefs/events" / name
        event.mkdir(parents=True, exist_ok=True)
        (event / "format").write_text(text)
    (folder / "tracefs/available_filter_functions").write_text("vfs_read\nvfs_write\n")
    (folder / "kallsyms").write_text("ffffffff81000000 T vfs_read\nffffffff81000010 T vfs_write\n")
    (folder / "target.json").write_text(json.dumps({**FACTS, **facts}))
    return Target.load(str(folder))


def work(text: str, target: Target, *params: str) -> Work:
    """All stages for a script."""
    return run(Source("test.bt", text), target, Options(params, environment={}))
