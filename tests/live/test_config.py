"""Config variables and environment: each has its effect."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Outcome, Pbt

pytestmark = pytest.mark.live


def with_config(pbt: Pbt, config: str, script: str, *options: str, **more: str) -> Outcome:
    return pbt("-q", *options, "-e", f"config = {{ {config} }}\n{script}", env=more)


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "body", "out"),
    [
        ("max_strlen = 8", 'print(str("abcdefghij"));', "abcdefg..\n"),
        ('max_strlen = 8; str_trunc_trailer = "~"', 'print(str("abcdefghij"));', "abcdefg~\n"),
        ('max_strlen = 8; str_trunc_trailer = ""', 'print(str("abcdefghij"));', "abcdefg\n"),
        ("max_cat_bytes = 6", 'cat("/proc/version");', "Linux "),
        ("max_map_keys = 2", "@[1] = 1; @[2] = 2; @[3] = 3; print(len(@)); clear(@);", "2\n"),
        ("print_maps_on_exit = false", "@ = 1;", ""),
        ("print_maps_on_exit = 1", "@ = 1;", "\n\n@: 1\n"),
        ("on_stack_limit = 0", '@ = str("text"); print(@); clear(@);', "text\n"),
        ("on_stack_limit = 400", '@ = str("text"); print(@); clear(@);', "text\n"),
    ],
)
def test_values(pbt: Pbt, config: str, body: str, out: str) -> None:
    text = with_config(pbt, config, f"BEGIN {{ {body} exit(); }}").out
    assert text.replace("@: ", "") == out.replace("@: ", "")


@pytest.mark.parametrize(("limit", "stack"), [("0", "8 bytes of stack"), ("400", "32 bytes of stack")])
def test_on_stack_limit_moves_objects_off_the_stack(pbt: Pbt, limit: str, stack: str) -> None:
    made = pbt("-d", "bpf", "-e", "BEGIN { @[comm, 1] = 5; }", env={"BPFTRACE_ON_STACK_LIMIT": limit})
    assert stack in made.out and ("map scratch:" in made.out) is (limit == "0")


@pytest.mark.parametrize(("pages", "lost"), [("1", True), ("4096", False)])
def test_perf_rb_pages_is_the_room_for_events(pbt: Pbt, pages: str, lost: bool) -> None:
    """A page holds a few of these at a time, and one run of the program sends many."""
    script = 'BEGIN { unroll (99) { printf("%s%s", comm, comm); } } interval:ms:1 { exit(); }'
    made = with_config(pbt, f"perf_rb_pages = {pages}", script)
    assert ("Lost " in made.err) is lost and ("Total lost event count" in made.err) is lost


def test_max_probes(pbt: Pbt) -> None:
    made = with_config(pbt, "max_probes = 3", "tracepoint:sched:sched* { }")
    assert made.status == 1 and "exceeds the current limit of 3 probes" in made.err
    assert "BPFTRACE_MAX_PROBES" in made.err


def test_max_bpf_progs(pbt: Pbt) -> None:
    script = "BEGIN { exit(); } " + "".join(f"interval:s:{n} {{ @[{n}] = 1; }} " for n in (1, 2, 3))
    made = with_config(pbt, "max_bpf_progs = 3", script)
    assert made.status == 1 and "BPF programs, which exceeds the current limit of 3" in made.err
    assert "BPFTRACE_MAX_BPF_PROGS" in made.err
    assert with_config(pbt, "max_bpf_progs = 2", "BEGIN { exit(); } END { }").status == 0


# --- missing probes -----------------------------------------------------------------------------

MISSING = 'tracepoint:sched:nosuch { } BEGIN { printf("on\\n"); exit(); }'


def test_missing_probes_are_errors(pbt: Pbt) -> None:
    made = pbt("-q", "-e", MISSING)
    assert made.status == 1 and made.out == "" and "No matches for tracepoint sched:nosuch." in made.err


def test_missing_probes_are_warned_about(pbt: Pbt) -> None:
    made = with_config(pbt, "missing_probes = warn", MISSING)
    assert (made.status, made.out) == (0, "on\n")
    assert "WARNING: No matches for tracepoint sched:nosuch." in made.err


def test_missing_probes_are_ignored(pbt: Pbt) -> None:
    made = with_config(pbt, "missing_probes = ignore", MISSING)
    assert (made.status, made.out, made.err) == (0, "on\n", "")


def test_probes_that_cannot_be_attached(pbt: Pbt) -> None:
    """A watchpoint on an address that the processor does not take."""
    script = 'watchpoint:0x1:8:w { } BEGIN { printf("on\\n"); exit(); } interval:ms:1 { }'
    failed = pbt("-q", "-e", script.replace("exit();", ""))
    assert failed.status == 1 and "Unable to attach watchpoint" in failed.err
    assert "missing_probes" in failed.err or "HINT" in failed.err
    warned = with_config(
        pbt, "missing_probes = warn", script.replace("exit(); } interval:ms:1 {", "} interval:ms:1 { exit();")
    )
    assert warned.status == 0 and warned.out == "on\n" and "WARNING: could not attach" in warned.err
    ignored = with_config(
        pbt,
        "missing_probes = ignore",
        script.replace("exit(); } interval:ms:1 {", "} interval:ms:1 { exit();"),
    )
    assert (ignored.status, ignored.out, ignored.err) == (0, "on\n", "")


# --- stacks and symbols -------------------------------------------------------------------------

LABS = "import ctypes; ctypes.CDLL(None).labs(-3)"
CPLUS = "import ctypes; ctypes.CDLL('libstdc++.so.6')._ZSt15get_new_handlerv()"
NEEDS_CPLUS = pytest.mark.skipif(
    subprocess.run([sys.executable, "-c", CPLUS], capture_output=True).returncode != 0, reason="no libstdc++"
)


def frame(pbt: Pbt, config: str, code: str = LABS, probe: str = "libc:labs", **env: str) -> str:
    """The innermost frame of a stack, drawn when its process is gone."""
    script = f"uprobe:{probe} {{ @[ustack(1)] = count(); }}"
    made = with_config(
        pbt, config, script, "-c", f'{sys.executable} -c "{code}; import time; time.sleep(0.2)"', **env
    )
    found = re.search(r"@\[\n(.*)\n\]: 1\n", made.out)
    assert found, made
    return found[1]


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ("", r"        labs\+0"),
        ("stack_mode = perf", r"\t[0-9a-f]+ labs\+0 \(/.*libc.so.6\)"),
        ("stack_mode = raw", r"[0-9a-f]{6,}"),
        ("stack_mode = build_id", r"[0-9a-f]{40} 0x[0-9a-f]+"),
        ("cache_user_symbols = PER_PID", r"        labs\+0"),
        ("cache_user_symbols = PER_PROGRAM", r"        labs\+0"),
        ("cache_user_symbols = NONE", r"        0x[0-9a-f]+"),  # nothing is kept of a process that is gone
        (
            "lazy_symbolication = false; use_blazesym = true; show_debug_info = true",
            r"        labs\+0(@.*:\d+)?",
        ),
    ],
)
def test_stacks(pbt: Pbt, config: str, shown: str) -> None:
    assert re.fullmatch(shown, frame(pbt, config))


def test_no_user_symbols(pbt: Pbt) -> None:
    assert re.fullmatch("        0x[0-9a-f]+", frame(pbt, "", BPFTRACE_NO_USER_SYMBOLS="1"))


@NEEDS_CPLUS
@pytest.mark.parametrize(
    ("config", "shown"),
    [("", "std::get_new_handler()+0"), ("cpp_demangle = false", "_ZSt15get_new_handlerv+0")],
)
def test_cpp_demangle(pbt: Pbt, config: str, shown: str) -> None:
    assert frame(pbt, config, CPLUS, "libstdc++:_ZSt15get_new_handlerv").strip() == shown


# --- programs -----------------------------------------------------------------------------------


def test_the_license_is_loaded(pbt: Pbt) -> None:
    assert with_config(pbt, 'license = "Dual BSD/GPL"', "BEGIN { exit(); }").status == 0
    made = with_config(pbt, 'license = "Proprietary"', "BEGIN { exit(); }")
    assert made.status == 1 and "Invalid value for license: Proprietary" in made.err


def test_log_size_is_accepted(pbt: Pbt) -> None:
    """The log takes the room that it needs."""
    assert with_config(pbt, "log_size = 10", "BEGIN { exit(); }", "-v").status == 0


# --- the environment ----------------------------------------------------------------------------


def test_the_environment_wins(pbt: Pbt) -> None:
    script = 'config = { max_strlen = 100; } BEGIN { print(str("abcdefghij")); exit(); }'
    assert pbt("-q", "-e", script, env={"BPFTRACE_MAX_STRLEN": "8"}).out == "abcdefg..\n"
    assert pbt("-q", "-e", script, env={"BPFTRACE_STRLEN": "8"}).out == "abcdefg..\n"


def test_dropped_variables_are_ignored(pbt: Pbt) -> None:
    env = {
        "BPFTRACE_MAX_TYPE_RES_ITERATIONS": "0",
        "BPFTRACE_DEBUG_OUTPUT": "x",
        "BPFTRACE_VMLINUX": "/no/such/file",
    }
    made = pbt("-q", "-e", "BEGIN { exit(); }", env=env)
    assert (made.status, made.out, made.err) == (0, "", "")


def test_another_file_of_types(pbt: Pbt, tmp_path: Path) -> None:
    script = "BEGIN { print(sizeof(struct task_struct) > 0); exit(); }"
    assert pbt("-q", "-e", script, env={"BPFTRACE_BTF": "/sys/kernel/btf/vmlinux"}).out == "true\n"
    missing = pbt("-q", "-e", script, env={"BPFTRACE_BTF": str(tmp_path / "nosuch")})
    assert missing.status == 1 and "struct task_struct" in missing.err


def test_the_time_zone(pbt: Pbt) -> None:
    script = 'BEGIN { time("%Z"); exit(); }'
    assert pbt("-q", "-e", script, env={"TZ": "XYZ-5"}).out == "XYZ"


def test_programs_are_found_by_path(pbt: Pbt, tmp_path: Path) -> None:
    (tmp_path / "sayhello").symlink_to("/bin/echo")
    path = f"{tmp_path}:{os.environ['PATH']}"
    made = pbt("-q", "-c", "sayhello you", "-e", "interval:s:60 { }", env={"PATH": path})
    assert made.out == "you\n"
