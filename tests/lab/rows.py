"""One script for each type of probe: what it takes, what makes it fire, and what it must show."""

from __future__ import annotations

from typing import NamedTuple

READ = "for i in 1 2 3 4; do cat /etc/passwd /proc/uptime > /dev/null; done"
PYTHON = "/usr/bin/python3"
COLLECT = f"{PYTHON} -S -c 'import gc; [gc.collect() for n in range(9)]'"
ATOI = f"{PYTHON} -S -c 'import ctypes; c = ctypes.CDLL(None); [c.atoi(b\"12345\") for n in range(9)]'"
GETPID = f"{PYTHON} -S -c 'import os; [os.getpid() for n in range(9)]'"


class Row(NamedTuple):
    """A type of probe. `{name}` in the script becomes the address of a kernel symbol, `{cell}` that of a
    number of the tracer's own, which it changes when the load has been made.

    `load` is a shell line that is run once everything is attached, `$PPID` being the tracer; `cmd` a program
    that the script traces from its start to its end instead. `shows`: a regular expression that the output
    must match. `feature`: what the kernel must have, named as in pbt/uapi/features.py. `links`: so many
    links hold it, where that is known.
    """

    name: str
    script: str
    shows: str
    load: str = ""
    cmd: str = ""
    feature: str = ""
    links: int = 0


COUNT = r"@: [1-9]\d*"

ROWS = (
    Row("BEGIN, END", r'BEGIN { printf("one\n"); } END { printf("two\n"); }', r"one\n\s*two\n"),
    Row("self", "self:signal:SIGUSR1 { @ = count(); }", r"@: 1\n", "kill -USR1 $PPID; sleep 1"),
    Row("interval", "interval:ms:50 { @ = count(); }", COUNT, "sleep 1"),
    Row("profile", "profile:hz:49 { @ = count(); }", COUNT, "sleep 1"),
    Row("software", "software:page-faults:1 { @[comm] = count(); }", r"@\[cat\]: [1-9]", READ),
    Row("hardware", "hardware:cycles:100000 { @ = count(); }", COUNT, READ),
    Row("watchpoint", "watchpoint:{cell}:8:w { @ = count(); }", COUNT, "sleep 0.1"),
    Row("tracepoint", "tracepoint:syscalls:sys_enter_openat { @[str(args.filename, 64)] = count(); }",
        r"@\[/etc/passwd\]: 4", READ),
    Row("tracepoint, wildcard", "tracepoint:syscalls:sys_enter_op* { @[probe] = count(); }",
        r"@\[tracepoint:syscalls:sys_enter_openat\]: [1-9]", READ),
    Row("rawtracepoint, args.NAME", "rawtracepoint:sched_switch { @[args.next->comm] = count(); }",
        r"@\[(sh|cat)\]: [1-9]", READ, feature="btf"),
    Row("rawtracepoint, argN", "rawtracepoint:sys_enter { @[arg1 < 1000] = count(); }", r"@\[true\]: [1-9]", READ),
    Row("kprobe", "kprobe:vfs_read { @[func, arg2 > 100] = count(); }", r"@\[vfs_read, true\]: [1-9]", READ),
    Row("kretprobe", "kretprobe:vfs_read { @[retval > 100] = count(); }",
        r"@\[true\]: [1-9]", READ),
    Row("kprobe, module", "kprobe:overlay:ovl_open { @ = count(); }", COUNT, READ),
    Row("kprobe, address", "kprobe:{vfs_read} { @ = count(); }", COUNT, READ),
    Row("kprobe, wildcard", "kprobe:vfs_r* { @[func] = count(); }", r"@\[vfs_read\]: [1-9]", READ),
    Row("kretprobe, wildcard", "kretprobe:vfs_r* { @[retval > 100] = count(); }", r"@\[true\]: [1-9]", READ),
    Row("kprobe, wildcard as one link", "kprobe:vfs_r* { @[func] = count(); }", r"@\[vfs_read\]: [1-9]", READ,
        feature="kprobe_multi", links=1),
    Row("kstack", "kprobe:vfs_read { @[kstack(3)] = count(); }", r"^\s*vfs_read\+\d+\n\s*\S+\+\d+\n", READ),
    Row("ustack", 'uprobe:libc:atoi { printf("%s", ustack(3)); }', r"^\s*atoi\+\d+\n", f"{ATOI[:-1]}; c.sleep(3)'"),
    Row("fentry", "fentry:vfs_read { @[str(args.file->f_path.dentry->d_name.name, 64), args.count > 100] = count(); }",
        r"@\[passwd, true\]: [1-9]", READ, feature="fentry"),
    Row("fexit", "fexit:vfs_read { @[str(args.file->f_path.dentry->d_name.name, 64), retval > 100] = count(); }",
        r"@\[passwd, true\]: [1-9]", READ, feature="fexit"),
    Row("fentry, numbers", "fentry:do_sys_openat2 { @[args.dfd, args.how->flags >= 0] = count(); }",
        r"@\[-100, true\]: [1-9]", READ, feature="fentry"),
    Row("fentry, module", "fentry:overlay:ovl_open { @[args.file->f_inode->i_ino > 0] = count(); }",
        r"@\[true\]: [1-9]", READ, feature="module_btf"),
    Row("fentry, wildcard", "fentry:vfs_rea* { @[probe] = count(); }",
        r"@\[fentry:vmlinux:vfs_read\]: [1-9]", READ, feature="fentry"),
    Row("uprobe", "uprobe:libc:atoi { @[str(arg0, 64)] = count(); }", r"@\[12345\]: 9", ATOI),
    Row("uretprobe", "uretprobe:libc:atoi { @[retval] = count(); }", r"@\[12345\]: 9", ATOI),
    Row("uprobe, wildcard", "uprobe:libc:getpi[d] { @[comm] = count(); }", r"@\[python3\]: [1-9]",
        GETPID),
    Row("uprobe, wildcard as one link", "uprobe:libc:getp* { @[comm] = count(); }", r"@\[python3\]: [1-9]",
        GETPID, feature="uprobe_multi", links=1),
    Row("usdt", f"usdt:{PYTHON}:python:gc__start {{ @[arg0] = count(); }}", r"@\[2\]: [1-9]", COLLECT),
    Row("usdt, of a command", f"usdt:{PYTHON}:gc__* {{ @[probe] = count(); }}",
        r"gc__start\]: [1-9]", cmd=COLLECT),
    Row("iter:task", r'iter:task { printf("%d %s\n", ctx.task.pid, ctx.task.comm); }', r"^2 kthreadd$",
        feature="iter"),
    Row("iter:task_file", "iter:task_file { @[ctx.fd] = count(); }", r"@\[2\]: [1-9]", feature="iter"),
    Row("iter:task_vma", "iter:task_vma { @[ctx.vma->vm_start > 0] = count(); }", r"@\[true\]: [1-9]",
        feature="iter_task_vma"),
)  # fmt: skip
