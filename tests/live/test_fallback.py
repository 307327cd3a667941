"""On a kernel without kprobes, scripts that want them run with what stands in for them."""

from __future__ import annotations

import os
import socket

import pytest

from pbt.host.target import Target

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(Target.live().has("kprobe"), reason="this kernel has kprobes"),
]


def connect() -> tuple[int, int]:
    """A connection over loopback and its end: the ports of the listener and of the client."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        server.accept()[0].close()
        return server.getsockname()[1], client.getsockname()[1]


def test_one_line_says_what_stands_in(pbt):
    done = pbt("-e", "kprobe:tcp_connect { exit(); }", load=connect)
    assert done.err.splitlines() == [
        "stdin:1:1: NOTE: kprobe:tcp_connect is not to be had here; using rawtracepoint:inet_sock_set_state",
        "Attached 1 probe",
    ]


def test_sockets_as_arguments_and_results(pbt):
    script = """
        kprobe:tcp_connect /pid == $1/ { @port[probe] = ((struct sock *)arg0)->__sk_common.skc_dport; }
        kretprobe:inet_csk_accept { @accepted[((struct sock *)retval)->__sk_common.skc_num] = count(); }
        kprobe:tcp_set_state /pid == $1/ { @states[arg1] = count(); }"""
    ports = []
    done = pbt("-e", script, str(os.getpid()), load=lambda: ports.extend(connect()))
    swapped = int.from_bytes(ports[0].to_bytes(2, "big"), "little")
    assert f"@port[kprobe:tcp_connect]: {swapped}" in done.lines()
    assert f"@accepted[{ports[0]}]: 1" in done.lines()
    assert "@states[2]: 1" in done.lines()  # TCP_SYN_SENT


def test_functions_keep_their_names(pbt):
    def load() -> None:
        with open("/dev/zero", "rb", buffering=0) as zero:
            for _ in range(100):
                zero.read(7)

    script = """
        kprobe:vfs_* /pid == $1/ { @[func] = count(); }
        kretprobe:vfs_read /pid == $1/ { @bytes[retval] = count(); }
        kprobe:vfs_read /pid == $1 && arg2 == 7/ { @sevens = count(); }"""
    done = pbt("-e", script, str(os.getpid()), load=load)
    assert {"@bytes[7]: 100", "@sevens: 100"} <= set(done.lines())
    counts = dict(line.rsplit(": ", 1) for line in done.lines() if line.startswith("@[vfs_"))
    assert int(counts["@[vfs_read]"]) >= 100 and int(counts["@[vfs_open]"]) >= 1


def test_several_names_of_one_event_count_once(pbt):
    """What block requests were accounted by in different kernels is one event here."""
    script = "kprobe:blk_account_io_start, kprobe:__blk_account_io_start { @ = count(); } interval:ms:1 { exit(); }"
    assert "Attached 2 probes" in pbt("-e", script).err


def test_what_the_event_does_not_tell(pbt):
    done = pbt("-e", "kprobe:cap_capable { print(arg3); }")
    assert done.status == 1
    assert done.err.splitlines() == [
        "stdin:1:28: ERROR: The arg3 builtin is not known in this probe",
        "kprobe:cap_capable { print(arg3); }",
        "                           ^~~~",
        "HINT: kprobe:cap_capable is attached as rawtracepoint:vmlinux:cap_capable here, which does not tell it",
    ]


def test_no_fallback(pbt):
    done = pbt("--no-fallback", "-e", "kprobe:tcp_connect { exit(); }")
    assert done.status != 0 and "this kernel has no kprobes" in done.err and "NOTE" not in done.err
