from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pbt.host.target import Target
from pbt.source import UsageError

FORMAT = "name: sched_switch\nID: 7\nformat:\n\tfield:pid_t pid;\toffset:8;\tsize:4;\tsigned:1;\n"
FACTS = {
    "layout": 1, "arch": "x86_64", "release": "6.12.43+deb12-amd64", "page_size": 4096,
    "cpus": [0, 1, 2], "online": [0, 2], "features": ["btf", "ringbuf"],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    event = tmp_path / "tracefs/events/sched/sched_switch"
    event.mkdir(parents=True)
    (event / "format").write_text(FORMAT)
    (tmp_path / "tracefs/available_filter_functions").write_text("vfs_read\n")
    (tmp_path / "kallsyms").write_text("ffffffff81000000 T vfs_read\n")
    (tmp_path / "target.json").write_text(json.dumps(FACTS))
    return tmp_path


def test_saved(folder: Path) -> None:
    target = Target.load(str(folder))
    assert (target.release, target.version, target.arch.name) == (FACTS["release"], (6, 12, 43), "x86_64")
    assert (target.page_size, target.cpus, target.online) == (4096, (0, 1, 2), (0, 2))
    assert target.has("ringbuf") and not target.has("fentry") and target.features() == {"btf", "ringbuf"}
    assert target.tracefs.events() == [("sched", "sched_switch")] and target.tracefs.functions() == [
        "vfs_read"
    ]
    assert target.tracefs.id("sched", "sched_switch") == 7
    assert target.kallsyms.address("vfs_read") == 0xFFFFFFFF81000000
    assert target.types is None and target.modules() == () and target.module_types("ext4") is None


def test_saving_what_was_saved_changes_nothing(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again = tmp_path_factory.mktemp("again")
    Target.load(str(folder)).save(str(again))
    for root, _, files in os.walk(folder):
        for name in files:
            path = Path(root, name)
            copy = again / path.relative_to(folder)
            if name == "target.json":
                assert json.loads(copy.read_text()) == FACTS
            else:
                assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", json.dumps({**FACTS, "layout": 99}), json.dumps({**FACTS, "cpus": 2})]
)
def test_bad_folders(folder: Path, text: str) -> None:
    (folder / "target.json").write_text(text)
    with pytest.raises(UsageError, match=r"target\.json"):
        Target.load(str(folder))
    with pytest.raises(UsageError, match="cannot read"):
        Target.load(str(folder / "nowhere"))


def test_missing_parts(folder: Path, tmp_path: Path) -> None:
    for path in sorted((folder / "tracefs").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (folder / "tracefs").rmdir()
    (folder / "kallsyms").unlink()
    target = Target.load(str(folder))
    with pytest.raises(UsageError, match="no tracepoints"):
        _ = target.tracefs
    assert target.kallsyms.names() == []
    with pytest.raises(UsageError, match="cannot save"):
        Target.load(str(folder)).save("/proc/nowhere")


def test_live() -> None:
    target = Target.live()
    assert target.release == os.uname().release and target.version[0] >= 4
    assert target.cpus and set(target.online) <= set(target.cpus)
    assert target.page_size == os.sysconf("SC_PAGE_SIZE")
    assert target.types is target.types and target.kallsyms is target.kallsyms


def test_btf_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BPFTRACE_BTF", "")
    assert Target.live().types is None
    monkeypatch.setenv("BPFTRACE_BTF", str(tmp_path / "none"))
    assert Target.live().types is None
    file = tmp_path / "text"
    file.write_text("not BTF, but long enough to have a header")
    monkeypatch.setenv("BPFTRACE_BTF", str(file))
    types = Target.live().types
    assert types
    with pytest.raises(UsageError, match="not BTF"):
        types.find("struct", "task_struct")


@pytest.mark.live
def test_saved_and_live_give_the_same_answers(tmp_path: Path) -> None:
    live = Target.live()
    live.save(str(tmp_path), events=["sched:sched_s*", "syscalls:sys_enter_openat"])
    saved = Target.load(str(tmp_path))
    for name in ("release", "arch", "page_size", "cpus", "online"):
        assert getattr(saved, name) == getattr(live, name)
    assert saved.features() == live.features()
    assert saved.tracefs.events() == [
        *live.tracefs.events("sched", "sched_s*"), ("syscalls", "sys_enter_openat")
    ]  # fmt: skip
    for category, event in saved.tracefs.events():
        one, other = (t.tracefs.format(category, event, t.types) for t in (saved, live))
        assert one and other and one.struct.members == other.struct.members
        assert saved.tracefs.id(category, event) == live.tracefs.id(category, event)
    assert saved.kallsyms.names() == live.kallsyms.names()
    if live.types:
        assert saved.types and saved.types.data == live.types.data[:]
