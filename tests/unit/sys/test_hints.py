from __future__ import annotations

import errno
import os

import pytest

from pbt.sys import hints


def test_lockdown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(hints, "_read", lambda path: "none integrity [confidentiality]")
    assert hints.hint(errno.EPERM) == "the kernel is locked down (confidentiality); see kernel_lockdown(7)"
    monkeypatch.setattr(hints, "_read", lambda path: "[none] integrity confidentiality")
    assert "security policy" in hints.hint(errno.EPERM)


def read(**files: str):
    """`hints._read` of a machine with these files, by their last names."""
    return lambda path: files.get(path.rsplit("/", 1)[1], "")


def status(*capabilities: str) -> str:
    return f"CapEff:\t{sum(1 << hints.CAPABILITIES[name] for name in capabilities):016x}"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"status": status()}, "run as root, or with CAP_BPF and CAP_PERFMON"),
        ({"status": status("CAP_BPF")}, "CAP_PERFMON is missing: "),
        ({"status": status("CAP_PERFMON")}, "CAP_BPF is missing: "),
        ({"status": status(), "unprivileged_bpf_disabled": "2"}, "(kernel.unprivileged_bpf_disabled is set)"),
        ({"status": status("CAP_BPF"), "perf_event_paranoid": "3"}, "(kernel.perf_event_paranoid is 3)"),
        ({"status": status("CAP_BPF", "CAP_PERFMON")}, "CAP_SYS_ADMIN is missing"),
        (
            {"status": status("CAP_SYS_ADMIN"), "lockdown": "none [integrity] confidentiality"},
            "down (integrity)",
        ),
        ({"status": status("CAP_SYS_ADMIN"), "lockdown": "[none] integrity"}, "a security policy"),
    ],
)
def test_what_is_missing(monkeypatch: pytest.MonkeyPatch, files: dict[str, str], said: str) -> None:
    monkeypatch.setattr(hints, "_read", read(**files))
    assert said in hints.permission()


def test_confidentiality_forbids_to_read_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    log = "program of this type cannot use helper bpf_probe_read_kernel#113"
    monkeypatch.setattr(hints, "_read", read(lockdown="none integrity [confidentiality]"))
    assert "no program may read its memory" in hints.refused_helper(log)
    assert hints.refused_helper("R1 type=scalar expected=fp") == ""
    monkeypatch.setattr(hints, "_read", read(lockdown="none [integrity] confidentiality"))
    assert hints.refused_helper(log) == ""
