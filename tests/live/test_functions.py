"""Builtin functions on the running kernel, each against what the language says it gives."""

from __future__ import annotations

import json
import os
import re
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Pbt

pytestmark = pytest.mark.live

C = "#include <unistd.h>\nvolatile int number = 42;\n__attribute__((noinline)) int work(int a) { return a + number; }\n" \
    "int main(int n, char **words) { if (n > 1) return work(1) != 43; int result = work(1); usleep(100000); return result == 43 ? 0 : 1; }\n"  # fmt: skip


@pytest.fixture
def begin(pbt: Pbt) -> Callable[..., list[str]]:
    """Runs statements in BEGIN; the lines they print. Standard error must be empty."""

    def run(text: str, *words: str, params: tuple[str, ...] = ()) -> list[str]:
        done = pbt("-q", *words, "-e", f"BEGIN {{ {text} exit(); }}", *params)
        assert (done.status, done.err) == (0, ""), done
        return done.lines()

    return run


def show(form: str, *values: str) -> str:
    return f'printf("{form}\\n", {", ".join(values)});'


# --- texts ------------------------------------------------------------------------------------


def test_lengths_of_texts(begin):
    assert begin(show("%d %d %d", 'strlen("hello")', 'strlen("")', "strlen(comm)")) == ["5 0 6"]
    assert begin(show("%d %d", "strcap(comm)", 'strcap("abc")')) == ["16 4"]


def test_texts_behind_one_another(begin):
    assert begin(show("%s|%s|", 'str_concat("ab", comm)', 'str_concat("", "")')) == ["abpython||"]


PARTS = (
    ("hello world", "wor"), ("aaab", "aab"), ("x", "yy"), ("abc", "abc"), ("abc", "abcd"), ("abc", ""), ("", ""),
    ("", "a"), ("mississippi", "issip"),
)  # fmt: skip


def test_texts_in_others(begin):
    calls = [
        show("%d %d", f'strstr("{text}", "{part}")', f'strcontains("{text}", "{part}")')
        for text, part in PARTS
    ]
    assert begin(" ".join(calls)) == [f"{text.find(part)} {int(part in text)}" for text, part in PARTS]


def test_a_text_in_another_of_a_thousand_bytes(pbt, tmp_path):
    deep = tmp_path / ("d" * 200) / ("e" * 200)
    deep.mkdir(parents=True)
    name = str(deep / "needle")
    script = "tracepoint:syscalls:sys_enter_openat /pid == cpid/ { $s = str(args.filename); " \
             'if (strcontains($s, "/needle")) { ' \
             'printf("%d %d\\n", strlen($s), strstr($s, str($1))); exit(); } }'  # fmt: skip
    done = pbt("-q", "-c", f"cat {name}", "-e", script, "eee/needle")
    assert done.lines()[:1] == [f"{len(name)} {name.index('eee/needle')}"], done


def test_bytes_compared(begin):
    text = show("%d %d %d %d", *(f"memcmp({args})" for args in (
        '"abc", "abd", 3', '"abd", "abc", 3', '"abc", "abd", 2', "curtask, curtask, 64")))  # fmt: skip
    assert begin(text) == ["-1 1 0 0"]
    assert begin(show("%d", 'memcmp(pton("10.0.0.1"), pton("9.0.0.1"), 4)')) == ["1"]


# --- numbers as names -------------------------------------------------------------------------


def test_numbers_as_names(begin):
    lines = begin(show("%s|%s|%s|%s", "strerror(2)", "strerror(-1)", "strerror((uint32)-2)", "strerror(999)"))
    assert lines == [f"{os.strerror(2)}|{os.strerror(1)}|{os.strerror(2)}|Unknown error"]
    lines = begin(
        show("%s|%s|%s|%s", "signal_name(9)", "signal_name(40)", "signal_name(0)", "signal_name(65)")
    )
    assert lines == ["Killed|Real-time signal 6|Unknown signal 0|N/A"]
    assert begin(show("%s", "syscall_name(99999)")) == ["Unknown syscall"]


def test_the_command_runs_though_nothing_waits_for_it(pbt):
    out = pbt("-q", "-c", "sh -c 'sleep 0.1; echo ran'", "-e", "BEGIN { print(1); } END { print(2); }").out
    assert sorted(out.split()) == ["1", "2", "ran"]


def test_system_calls_by_name(pbt):
    script = "tracepoint:raw_syscalls:sys_enter /pid == cpid/ { @[syscall_name(args.id)] = count(); }"
    out = pbt("-q", "-c", "ls /", "-e", script).out
    assert "@[openat]: " in out and "@[write]: " in out


# --- processes --------------------------------------------------------------------------------


def test_who_runs(begin):
    text = show("%d %d %s", "pid == tid", "leader_tid == pid", "leader_comm")
    assert begin(text) == ["1 1 python"]
    text = show("%d %s %s", "ppid == ppid(curtask)", "pcomm(curtask)", "pcomm")
    one, other, same = begin(text)[0].split()
    assert one == "1" and other == same


def test_the_name_of_another_process(begin):
    assert begin(show("%s|%s|", "comm(1)", "comm(4194305)")) == [
        Path("/proc/1/comm").read_text().strip() + "||"
    ]


def test_the_command_of_c(pbt):
    script = 'BEGIN { printf("%s %d\\n", has_cpid, cpid); exit(); }'
    assert pbt("-q", "-e", script).lines() == ["false 0"]
    flag, number = pbt("-q", "-c", "sleep 3", "-e", script).lines()[0].split()
    assert flag == "true" and int(number) > 1


def test_ids_of_a_nested_namespace(pbt, tmp_path):
    import sys

    from tests.conftest import ROOT

    script = (
        'BEGIN { printf("%d %d %d %d\\n", pid, tid, pid(init) > 1, pid(curr_ns) == tid(curr_ns)); exit(); }'
    )
    words = ["unshare", "-pf", "--mount-proc", sys.executable, "-m", "pbt", "-q", "-e", script]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)
    if "unshare" in done.stderr:
        pytest.skip(done.stderr)
    assert done.stdout == "1 1 1 1\n", done


def test_signals(pbt):
    script = 'tracepoint:syscalls:sys_enter_*nanosleep /pid == cpid/ { %s; printf("sent\\n"); }'
    for text in ('signal("KILL")', "signal_thread(9)"):
        assert "sent" in pbt("-q", "--unsafe", "-c", "sleep 30", "-e", script % text).out


# --- messages ---------------------------------------------------------------------------------


def test_messages_beside_the_output(pbt):
    script = 'BEGIN { printf("out\\n"); errorf("bad %d\\n", 3); warnf("odd %s", comm); exit(); }'
    done = pbt("-q", "-e", script)
    assert done.out.strip() == "out" and done.status == 0
    assert done.err == "stdin:1:26: ERROR: bad 3\nstdin:1:49: WARNING: odd python\n"
    assert pbt("-q", "--no-warnings", "-e", script).err == "stdin:1:26: ERROR: bad 3\n"


def test_messages_as_json(pbt):
    import json

    done = pbt("-q", "-f", "json", "-e", 'BEGIN { errorf("bad %d\\n", 3); exit(); }')
    first = json.loads(done.lines()[0])
    assert (first["type"], first["msg"], first["line"], first["col"]) == ("errorf", "bad 3\n", 1, 9)


def test_what_must_hold(pbt):
    done = pbt(
        "-q",
        "-e",
        'BEGIN { assert(1, "no"); assert(pid == 0, "pid is not zero"); printf("after\\n"); } END { printf("end\\n"); }',
    )
    assert done.status == 1 and "pid is not zero" in done.err
    assert "after" not in done.out and "end" in done.out


def test_the_kernels_own_trace(pbt, tracefs):
    mark = f"pbt{os.getpid()}"
    pipe, switch = tracefs / "trace", tracefs / "tracing_on"
    before = switch.read_text()
    switch.write_text("1")
    try:
        pbt("-q", "-e", f'BEGIN {{ debugf("{mark} %d%% %s %x", 5, comm, 255); exit(); }}')
        assert f"{mark} 5% python ff" in pipe.read_text()
    finally:
        switch.write_text(before)


# --- addresses and stacks ---------------------------------------------------------------------


@pytest.fixture(scope="module", params=["-pie", "-no-pie"])
def program(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "work.c").write_text(C)
    words = ["gcc", "-O1", "-fPIE" if request.param == "-pie" else "-fno-pie", request.param]
    try:
        subprocess.run([*words, "-o", "work", "work.c"], cwd=folder, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler: {error}")
    return folder / "work"


def test_a_variable_of_the_program(pbt, program):
    script = f'uprobe:{program}:work {{ printf("%d %d\\n", *uaddr("number"), arg0); exit(); }}'
    assert pbt("-q", "-c", str(program), "-e", script).lines()[0] == "42 1"


def test_registers(pbt, program):
    script = f'uprobe:{program}:work {{ printf("%d %d %d\\n", reg("di"), reg("ip") == func_at, usermode); exit(); }}'
    script = script.replace("func_at", 'reg("pc")')
    if os.uname().machine == "x86_64":
        assert pbt("-q", "-c", str(program), "-e", script).lines()[0] == "1 1 1"


def test_names_of_processes_that_have_ended(pbt, program):
    """They live for a tenth of a second; maps are printed when they are gone."""
    script = f'uprobe:{program}:work {{ @s[ustack(1)] = count(); @u[usym(reg("ip"))] = count(); @f[func] = count(); }}'
    done = pbt("-q", "-e", script, "-c", str(program))
    assert "work+0\n]: 1\n" in done.out and "@u[work]: 1\n" in done.out and "@f[work]: 1\n" in done.out, done


def test_names_of_a_program_that_ends_at_once(pbt, program):
    """Its mappings are read before it runs."""
    script = f"uprobe:{program}:work {{ print(func); print(ustack(1)); }}"
    done = pbt("-q", "-e", script, "-c", f"{program} at once")
    assert done.lines()[0] == "work" and "work+0\n" in done.out, done


def test_stacks_in_their_modes(pbt):
    stacks = "ustack(raw, 2), ustack(perf, 2), ustack(build_id, 2), len(ustack)"
    show_all = f'if (@n++ > 60) {{ printf("%s--%s--%s--%d\\n", {stacks}); exit(); }}'
    script = f"profile:hz:199 /pid == cpid/ {{ {show_all} }}"
    out = pbt("-q", "-c", "python3 -c 'while True: pass'", "-e", script).out
    raw, perf, ids, count = out.partition("\n\n@")[0].split("--")
    first = raw.split()[0]
    assert perf.split("\n")[1].startswith(f"\t{first} ") and "(/" in perf
    assert len(ids.split("\n")[1].split()[0]) in (40, len(first))
    assert int(count.split()[0]) >= 1


def test_error_pointers(begin):
    assert begin(show("%s %s %s", "is_err((uint64)-5)", "is_err((uint64)-4096)", "is_err(curtask)")) == [
        "true false false"
    ]


def test_kernel_functions(begin):
    lines = begin(show("%s %s %s", *(f'kfunc_{what}' for what in (
        'exist("bpf_task_from_pid")', 'exist("no_such_thing")', 'allowed("no_such_thing")'))))  # fmt: skip
    assert lines[0].endswith("false false")


@pytest.mark.needs("iter")
def test_the_name_of_a_file(pbt, tmp_path):
    name, path = tmp_path / "open file", "path(ctx.file.f_path)"
    with name.open("w"):
        done = pbt(
            "-q", "-e", f'iter:task_file {{ if (strcontains({path}, "{name}")) {{ print({path}); }} }}'
        )
    assert str(name) in done.lines(), done
    lost = pbt("-q", "-e", "iter:task_file { $f = ctx.file; print(path($f.f_path)); }")
    assert lost.status == 1 and "straight from" in lost.err


# --- control groups ---------------------------------------------------------------------------


def test_control_groups(begin):
    from pbt.sys.mount import mounts

    found = mounts("cgroup2")
    if not found:
        pytest.skip("cgroup2 is not mounted")
    own = next(
        line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
    )
    root = found[0]
    assert begin(show("%d", f'cgroupid("{root}{own}") == cgroup')) == ["1"]
    assert begin(show("%s", 'cgroup_path(cgroup, "unified")')) == [f"unified:{own}"]
    assert begin(show("%s|", 'cgroup_path(cgroup, "nothing*")')) == ["|"]


# --- maps -------------------------------------------------------------------------------------


def test_how_many_keys(begin):
    assert begin('@a[1] = 1; @a[2] = 1; @c[3] = count(); ' + show("%d %d", "len(@a)", "len(@c)") + "delete(@a[1]); "
                 + show("%d", "len(@a)") + " clear(@a); clear(@c);")[:2] == ["2 1", "1"]  # fmt: skip


def test_find_and_its_value(begin):
    text = '@a[2] = 7; @t["x"] = "hello"; let $v; let $w; ' \
           'if (find(@a, 2, $v)) { printf("%d\\n", $v); } if (!find(@a, 3, $v)) { printf("none %d\\n", $v); } ' \
           'if (find(@t, "x", $w)) { printf("%s\\n", $w); } clear(@a); clear(@t);'  # fmt: skip
    assert begin(text)[:3] == ["7", "none 7", "hello"]


def test_one_element_of_an_aggregation(begin):
    text = '@h["a"] = hist(5); @h["b"] = hist(9); @s[1] = stats(3); @s[1] = stats(5); @n[1, 2] = count(); ' \
           'print(@h["a"]); print(@s[1]); print(@n[1, 2]); print(@h["none"]); ' \
           'clear(@h); clear(@s); clear(@n);'  # fmt: skip
    lines = [line for line in begin(text) if line]
    assert lines[0].startswith("[4, 8)") and lines[1:] == ["{ .count = 2, .average = 4, .total = 8 }", "1"]


# --- watchpoints ----------------------------------------------------------------------------


def test_the_watchpoint_is_taken_back(pbt, tmp_path):
    """The reader does it when it gets to the record, so more writes may be seen, but not all."""
    source = "#include <unistd.h>\nvolatile long number;\n" \
             "int main(void) { for (int i = 0; i < 100; i++) { number++; usleep(20000); } return 0; }\n"  # fmt: skip
    (tmp_path / "w.c").write_text(source)
    try:
        subprocess.run(["gcc", "-no-pie", "-o", "w", "w.c"], cwd=tmp_path, check=True, capture_output=True)
        table = subprocess.run(["nm", "w"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler: {error}")
    address = "0x" + next(line.split()[0] for line in table.splitlines() if line.endswith(" number"))
    script = f"watchpoint:{address}:8:w {{ @ = count(); unwatch({address}); }}"
    done = pbt("-q", "-c", str(tmp_path / "w"), "-e", script)
    if "watchpoint" in done.err:
        pytest.skip(done.err)
    assert 1 <= int(done.out.split()[-1]) < 100


# --- sockets and commands ---------------------------------------------------------------------


@pytest.mark.needs("iter")
def test_the_cookie_of_a_socket(pbt):
    with socket.create_server(("127.0.0.1", 0)) as server:
        cookie = struct.unpack("=Q", server.getsockopt(socket.SOL_SOCKET, 57, 8))[0]  # SO_COOKIE
        done = pbt("-q", "-e", "iter:tcp { print(socket_cookie(ctx.sk_common)); }")
    assert str(cookie) in done.lines(), done


PACKETS = """tracepoint:net:net_dev_queue /pid == $1/ {
    $skb = (struct sk_buff *)args.skbaddr;
    if (skboutput("%s", $skb, $skb->len, 14) == 0) { @n++; }
    if (@n == 3) { clear(@n); exit(); }
}"""


def test_packets_into_a_file(pbt, tmp_path):
    """IPv4 packets without their Ethernet header, as any reader of pcap files wants them."""
    path = tmp_path / "sent.pcap"

    def send() -> None:
        datagrams = socket.AF_INET, socket.SOCK_DGRAM
        with socket.socket(*datagrams) as receiver, socket.socket(*datagrams) as sender:
            receiver.bind(("127.0.0.1", 0))
            for number in range(3):
                sender.sendto(b"packet %d" % number, receiver.getsockname())

    begun = time.time()
    done = pbt("-e", PACKETS % path, str(os.getpid()), load=send)
    data = path.read_bytes()
    magic, major, minor, _, _, _, link = struct.unpack_from("=IHHiIII", data)
    assert (magic, major, minor, link) == (0xA1B23C4D, 2, 4, 101), done
    at, texts = 24, []
    while at < len(data):
        seconds, _, taken, length = struct.unpack_from("=IIII", data, at)
        packet = data[at + 16 : at + 16 + taken]
        assert taken == length == struct.unpack_from("!H", packet, 2)[0] and packet[0] == 0x45
        assert begun - 2 < seconds < begun + 60
        texts.append(packet[28:])
        at += 16 + taken
    assert texts == [b"packet 0", b"packet 1", b"packet 2"]


def test_shell_commands(pbt):
    done = pbt(
        "-q", "--unsafe", "-e", 'BEGIN { printf("one\\n"); system("echo %s %d; exit 3", "two", 2); exit(); }'
    )
    assert (done.status, done.lines()[:2]) == (0, ["one", "two 2"])


# --- clocks -----------------------------------------------------------------------------------


def test_a_time_of_each_clock_is_the_same(begin):
    """To the minute, unless one ends just now."""
    text = show("%s|%s|%s", *(f'strftime("%F %H:%M", nsecs({clock}))' for clock in ("boot", "tai", "sw_tai")))
    assert any(len(set(begin(text)[0].split("|"))) == 1 for _ in range(2))


def test_the_time_of_day(begin):
    before = time.strftime("%H:%M:%S")
    (said,) = begin(show("%s", 'strftime("%H:%M:%S", nsecs)'))
    assert before <= said <= time.strftime("%H:%M:%S") or before > "23:59"


def test_parts_of_a_second(begin):
    assert re.fullmatch(
        r"(\d{3})\|\1\d{3}\|\1\d{6}", begin("$n = nsecs; " + show("%s", 'strftime("%l|%f|%k", $n)'))[0]
    )


# --- series -----------------------------------------------------------------------------------


SERIES = """config = { unstable_tseries = enable }
interval:ms:50 { @n++; @last = tseries(@n, 1h, 2); @sum = tseries(@n, 1h, 2, "sum"); @avg[1] = tseries(-@n, 1h, 2, "avg");
    @least["a"] = tseries(@n, 1h, 2, "min"); @most = tseries((uint64)@n, 1h, 2, "max");
    if (@n == 5) { print(@sum); print(@avg[1]); clear(@n); exit(); } }"""


def test_series(pbt):
    """Five values in what is almost always one hour."""
    done = pbt("-q", "-f", "json", "-e", SERIES)
    assert done.err == "", done
    found = {}
    for message in map(json.loads, done.out.splitlines()):
        assert message["type"] in ("tseries", "attached_probes")
        if isinstance(message["data"], dict):
            found.update(message["data"])
    values = {name: series[-1]["value"] for name, series in found.items() if isinstance(series, list)}
    assert values == {"@last": 5, "@sum": 15, "@most": 5} or len(found["@last"]) == 2
    assert len(found["@least"]["a"]) == 2 or (
        found["@avg"]["1"][-1]["value"],
        found["@least"]["a"][-1]["value"],
    ) == (-3, 1)


def test_intervals_take_turns(pbt):
    """Of a series that runs for longer than it has intervals, the last are kept."""
    script = """config = { unstable_tseries = enable }
interval:ms:10 { if (@n < 20) { @ = tseries(@n, 20ms, 3); @n++; } else { exit(); } }"""
    done = pbt("-q", "-e", script)
    lines = done.lines()
    rows = [line for line in lines if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert 1 <= len(rows) <= 3 and rows[-1].endswith(" 19"), done
