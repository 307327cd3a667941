"""A kernel without BTF: tracepoints from their format files, structs from the script or its headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from pbt.host.target import Target
from pbt.pipeline import HeaderOptions, Options, run
from pbt.source import PbtError, Source
from tests.conftest import Pbt

pytestmark = pytest.mark.live

TIMESPEC = "struct __kernel_timespec { long tv_sec; long tv_nsec; };\n"
SLEEPS = (
    "tracepoint:syscalls:sys_enter_clock_nanosleep /pid == cpid/ "
    '{ printf("%s %d %d\\n", comm, args->rqtp->tv_sec, args.rqtp.tv_nsec); }'
)


@pytest.mark.parametrize("path", ["/nonexistent", ""])
def test_fields_of_tracepoints(pbt: Pbt, path: str) -> None:
    done = pbt("-q", "-c", "sleep 0.25", "-e", TIMESPEC + SLEEPS, env={"BPFTRACE_BTF": path})
    assert "sleep 0 250000000" in done.out, done.err


def test_structs_of_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pcpp")
    pytest.importorskip("pycparser")
    monkeypatch.setenv("BPFTRACE_BTF", "/nonexistent")
    (tmp_path / "spec.h").write_text(TIMESPEC)
    options = Options(environment={}, headers=HeaderOptions((str(tmp_path),)))
    assert run(Source("script", "#include <spec.h>\n" + SLEEPS), Target.live(), options).bundle is not None


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BPFTRACE_BTF", "/nonexistent")
    with pytest.raises(PbtError) as raised:
        run(Source("script", "BEGIN { print(((struct sock *)0)->sk_rcvbuf); }"), Target.live())
    text = str(raised.value)
    assert 'Cannot resolve unknown type "struct sock"' in text and "BPFTRACE_BTF" in text and "-I DIR" in text
