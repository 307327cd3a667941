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
    number of the tracer's own, which it changes when the load has been made; `{FORBIDDEN}`, `{TWICE}`, `{isra}`,
    `{part}`, `{constprop}` the name of a function that kprobes refuse, that several have, or that the compiler made
    of another one; `{CALL}` is where a function calls ftrace, on machines whose kprobes cannot be there.

    `load` is a shell line that is run once everything is attached, `$PPID` being the tracer; `cmd` a program
    that the script traces from its start to its end instead. `shows`: a regular expression that the output
    must match. `feature`: what the kernel must have, named as in pbt/uapi/features.py, with blanks between. `links`: so many
    links hold it, where that is known. `says`: what the user must be told beside the output; `refused`: in words that
    end the attempt. `unsafe`: with --unsafe.
    """

    name: str
    script: str
    shows: str
    load: str = ""
    cmd: str = ""
    feature: str = ""
    links: int = 0
    says: str = ""
    refused: bool = False
    unsafe: bool = True


COUNT = r"@: [1-9]\d*"

ROWS = (
    Row("BEGIN, END", r'BEGIN { printf("one\n"); } END { printf("two\n"); }', r"one\n\s*two\n"),
    Row("self", "self:signal:SIGUSR1 { @ = count(); }", r"@: 1\n", "kill -USR1 $PPID; sleep 1"),
    Row("interval", "interval:ms:50 { @ = count(); }", COUNT, "sleep 1"),
    Row("profile", "profile:hz:49 { @ = count(); }", COUNT, "sleep 1"),
    Row("software", "software:page-faults:1 { @[comm] = count(); }", r"@\[cat\]: [1-9]", READ),
    Row("hardware", "hardware:cycles:100000 { @ = count(); }", COUNT, READ),
    Row("watchpoint", "watchpoint:{cell}:8:w { @ = count(); }", COUNT, "sleep 0.1"),
    Row("tracepoint", """
        tracepoint:syscalls:sys_enter_openat { @[str(args.filename, 64)] = count(); }
        tracepoint:syscalls:sys_enter_openat /comm == "cat"/ {
            $t = curtask; $p = $t->real_parent;
            @t[$t->pid == tid, $t->group_leader->tgid == pid, $p->comm, pcomm == $p->comm, $t->mm->mm_users.counter] = count();
        }
        """, r"@\[/etc/passwd\]: 4\n(?s:.*)@t\[true, true, sh, true, 1\]: [1-9]", READ),
    Row("tracepoint, wildcard", "tracepoint:syscalls:sys_enter_op* { @[probe] = count(); }",
        r"@\[tracepoint:syscalls:sys_enter_openat\]: [1-9]", READ),
    Row("rawtracepoint, args.NAME", "rawtracepoint:sched_switch { @[args.next->comm] = count(); }",
        r"@\[(sh|cat)\]: [1-9]", READ, feature="btf"),
    Row("rawtracepoint, argN", "rawtracepoint:sys_e* { @[probe, arg1 < 1000] = count(); }",
        r"@\[rawtracepoint:(vmlinux:)?sys_enter, true\]: [1-9]", READ),
    Row("kprobe", "kprobe:vfs_read { @[func, arg2 > 100] = count(); }", r"@\[vfs_read, true\]: [1-9]", READ),
    Row("kretprobe", "kretprobe:vfs_read { @[retval > 100] = count(); }",
        r"@\[true\]: [1-9]", READ),
    Row("kprobe, module", "kprobe:overlay:ovl_open { @ = count(); }", COUNT, READ),
    Row("kprobe, address", "kprobe:{vfs_read} { @ = count(); }", COUNT, READ),
    Row("kprobe, wildcard", "kprobe:vfs_r* { @[func, probe] = count(); }", r"@\[vfs_read, kprobe:vfs_read\]: [1-9]",
        READ),
    Row("kretprobe, wildcard", "kretprobe:vfs_r* { @[probe, retval > 100] = count(); }",
        r"@\[kretprobe:vfs_read, true\]: [1-9]", READ),
    Row("kprobe, wildcard as one link", "kprobe:vfs_r* { @[func, probe] = count(); }",
        r"@\[vfs_read, kprobe:vfs_read\]: [1-9]", READ, feature="kprobe_multi", links=1),
    Row("kprobe, session", """
        kprobe:vfs_read /comm == "cat"/ { @e = count(); @start[tid] = nsecs; @f[func] = count(); }
        kretprobe:vfs_read /comm == "cat" && @start[tid]/ {
            @r = count(); @slow[func, retval > 100] = sum((nsecs - @start[tid]) / 1000000000000); delete(@start[tid]);
        }
        """, r"@e: (\d+)\n@f\[vfs_read\]: \1\n@r: \1\n(?s:.*)@slow\[vfs_read, true\]: 0",
        READ, feature="kprobe_session", links=1),
    Row("kprobe, session of a wildcard", """
        kprobe:vfs_r* /comm == "cat"/ { @e[func, probe] = count(); }
        kretprobe:vfs_r* /comm == "cat"/ { @r[func, probe] = count(); @[retval > 100] = count(); }
        """, r"@\[true\]: [1-9](?s:.*)@e\[vfs_read, kprobe:vfs_read\]: (\d+)\n(?s:.*)@r\[vfs_read, kretprobe:vfs_read\]: \1\n", READ,
        feature="kprobe_session", links=1),
    Row("kprobe and kretprobe", """
        kprobe:vfs_read /comm == "cat"/ { @e = count(); @k[kstack(1)] = count(); }
        kretprobe:vfs_read /comm == "cat"/ { @r = count(); }
        """, r"@e: (\d+)\n(?s:.*)@r: \1\n", READ),
    Row("kprobe, offset", """
        config = { missing_probes = "warn" }
        kprobe:vfs_read+4, kprobe:vfs_read+5, kprobe:vfs_read+8 { @[cpu] = count(); }
        """, r"@\[\d+\]: [1-9]", READ),
    Row("kprobe, clone: .isra", 'kprobe:{isra} { @ = count(); } BEGIN { printf("attached\\n"); }', "attached", "true"),
    Row("kprobe, clone: .constprop", 'kprobe:{constprop} { @ = count(); } BEGIN { printf("attached\\n"); }',
        "attached", "true"),
    Row("kprobe, piece: .part", 'kprobe:{part} { @ = count(); } BEGIN { printf("attached\\n"); }', "attached", "true"),
    Row("kprobe, several of a name", 'kprobe:{TWICE} { @ = count(); } BEGIN { printf("attached\\n"); }',
        "attached", "true", says=r"2 functions are called \w+, [12] of them probed"),
    Row("kstack", "kprobe:vfs_read { @[kstack(3)] = count(); }", r"^\s*vfs_read\+\d+\n\s*\S+\+\d+\n", READ),
    Row("ustack", 'uprobe:libc:atoi { printf("%s", ustack(3)); }', r"^\s*atoi\+\d+\n", f"{ATOI[:-1]}; c.sleep(3)'"),
    Row("fentry", """
        fentry:vfs_read { @[str(args.file->f_path.dentry->d_name.name, 64), args.count > 100] = count(); }
        fentry:vfs_read /comm == "cat"/ {
            $inode = args.file->f_inode; $none = (struct task_struct *)0;
            @m[$inode->i_ino > 0, $inode->i_sb->s_magic > 0, curtask->real_parent->tgid == ppid, $none->pid] = count();
            @cred[args.file->f_cred->uid.val] = count();
        }
        """, r"@\[passwd, true\]: [1-9](?s:.*)@cred\[0\]: [1-9](?s:.*)@m\[true, true, true, 0\]: [1-9]", READ, feature="fentry"),
    Row("fexit", "fexit:vfs_read { @[str(args.file->f_path.dentry->d_name.name, 64), retval > 100] = count(); }",
        r"@\[passwd, true\]: [1-9]", READ, feature="fexit"),
    Row("fentry, numbers", "fentry:do_sys_openat2 { @[args.dfd, args.how->flags >= 0] = count(); }",
        r"@\[-100, true\]: [1-9]", READ, feature="fentry"),
    Row("fentry, func", "fentry:vfs_rea[d] { @[func] = count(); }", r"@\[vfs_read\]: [1-9]", READ,
        feature="fentry get_func_ip"),
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
    Row("uprobe, session", """
        uprobe:libc:atoi { @e = count(); @start[tid] = nsecs; }
        uretprobe:libc:atoi /@start[tid]/ { @r[func, retval] = count(); delete(@start[tid]); }
        """, r"@e: 9\n@r\[atoi, 12345\]: 9", ATOI, feature="uprobe_session", links=1),
    Row("usdt", f"usdt:{PYTHON}:python:gc__start {{ @[arg0] = count(); }}", r"@\[2\]: [1-9]", COLLECT),
    Row("usdt, of a command", f"usdt:{PYTHON}:gc__* {{ @[probe] = count(); }}",
        r"gc__start\]: [1-9]", cmd=COLLECT),
    Row("iter:task", r'''
        iter:task { $p = ctx.task.real_parent; printf("%d %s %d %d\n", ctx.task.pid, ctx.task.comm, $p->pid, $p->mm == 0); }
        ''', r"^2 kthreadd 0 1$", feature="iter"),
    Row("iter:task_file", "iter:task_file { @[ctx.fd] = count(); }", r"@\[2\]: [1-9]", feature="iter"),
    Row("iter:task_vma", "iter:task_vma { @[ctx.vma->vm_start > 0] = count(); }", r"@\[true\]: [1-9]",
        feature="iter_task_vma"),
)  # fmt: skip

MESSAGES = (
    Row("offset within an instruction", "kprobe:vfs_read+1 { @ = count(); }", "", says="not the start of an instruction",
        refused=True),
    Row("offset beyond the function", "kprobe:vfs_read+99999 { @ = count(); }", "",
        says=r"beyond the end of vfs_read, which has \d+ bytes(?s:.*)HINT: \S+\+\d+ is what is there", refused=True),
    Row("offset of ftrace's call", "kprobe:{CALL} { @ = count(); }", "", says="where ftrace's call is", refused=True),
    Row("offset of a return", "kretprobe:vfs_read+4 { @ = count(); }", "", says="kretprobe takes no offset", refused=True),
    Row("address without --unsafe", "kprobe:{vfs_read} { @ = count(); }", "", says="--unsafe allows it", refused=True,
        unsafe=False),
    Row("address of nothing", "kprobe:0x1234 { @ = count(); }", "", says="Unable to attach kprobe:0x1234", refused=True),
    Row("function of another module", "kprobe:overlay:vfs_read { @ = count(); }", "",
        says="No matches for kprobe overlay:vfs_read", refused=True),
    Row("forbidden function", "kprobe:{FORBIDDEN} { @ = count(); }", "", says="kprobes/blacklist", refused=True),
    Row("forbidden function, missing_probes = warn", """
        config = { missing_probes = "warn" } kprobe:{FORBIDDEN} { @ = count(); } kprobe:vfs_read { @ = count(); }
        """, COUNT, READ, says="could not attach probe kprobe:.*, skipping"),
    Row("no such function", "kprobe:pbt_no_such { @ = count(); }", "", says="No matches for kprobe pbt_no_such",
        refused=True),
    Row("no such function, missing_probes = warn", """
        config = { missing_probes = "warn" } kprobe:pbt_no_such { @ = count(); } kprobe:vfs_read { @ = count(); }
        """, COUNT, READ, says="No matches for kprobe pbt_no_such"),
    Row("no such function, missing_probes = ignore", """
        config = { missing_probes = "ignore" } kprobe:pbt_no_such { @ = count(); } kprobe:vfs_read { @ = count(); }
        """, COUNT, READ, says="(?s)^(?!.*pbt_no_such)"),
    Row("every function", "kprobe:* { @ = count(); }", "", says=r"Can't attach to \d+ probes", refused=True),
    Row("too many programs", "config = { max_bpf_progs = 2 } kprobe:vfs_read { @r = 1; } kprobe:vfs_write { @w = 1; } "
        "kprobe:vfs_open { @o = 1; }", "", says=r"generate \d+ BPF programs.*2", refused=True),
)  # fmt: skip
"""Probes that cannot be, or not all: what the user is told of them."""
