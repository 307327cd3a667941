"""Help: of the command, of a script's own options, and for a word that is none of the files it was taken for."""

from __future__ import annotations

from pbt.cli.main import VERBS
from pbt.cli.options import Arguments, usage
from pbt.cli.trace import OPTIONS, source_of, target_of
from pbt.source import nearest


def help_text() -> str:
    """What `pbt --help` prints."""
    verbs = "\n".join(f"    pbt {verb:10} {doc}" for verb, doc in VERBS.items())
    return f"""USAGE:
    pbt [options] FILE [parameters]
    pbt [options] -e 'PROGRAM' [parameters]
    pbt [options] -            the program comes from standard input
    pbt -l ['PATTERN']         list probes
{verbs}

OPTIONS:
{usage(OPTIONS)}

ENVIRONMENT:
    BPFTRACE_<NAME>            any config variable, such as BPFTRACE_MAX_STRLEN
    BPFTRACE_BTF               BTF file, default /sys/kernel/btf/vmlinux
    PBT_NO_CACHE               if set, nothing is kept in ~/.cache/pbt for later starts

EXAMPLES:
    pbt -e 'tracepoint:raw_syscalls:sys_enter {{ @[comm] = count(); }}'
        count system calls by process name
    pbt -l 'tracepoint:syscalls:*'
        list system call tracepoints"""


def script_help(args: Arguments) -> str:
    """The options of a script: what it asks of getopt()."""
    from pbt.pipeline import Options, run

    source, params = source_of(args)
    work = run(source, target_of(args), Options([*params, "--help"], unsafe=True), until="check")
    assert work.typed is not None
    rows = [(f"--{name}", about) for name, about in sorted(work.typed.options.items())]
    if not rows:
        return "\nThe script has no options of its own.\n"
    return "\nOPTIONS OF THE SCRIPT, after --:\n" + "".join(
        f"    {name:26} {about}".rstrip() + "\n" for name, about in rows
    )


def meant(name: str) -> str:
    """What a word that is no file may stand for."""
    from pbt.cli.tool import names

    if any(c in name for c in "{}:"):
        return "a program on the command line goes after -e"
    if name.removesuffix(".bt") in names():
        return f"pbt tool {name.removesuffix('.bt')}"
    options = [option.long for option in OPTIONS if option.long and option.doc]
    close = nearest(name, (*VERBS, *options), 1)
    if name in options or (close and close[0] in options):
        return f"did you mean pbt --{name if name in options else close[0]}?"
    return f"did you mean pbt {close[0]}?" if close else ""
