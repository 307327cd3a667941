"""A guest that hangs or dies costs the command that did it, and no other. No QEMU: guests are processes here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import boot, guest, vm
from tests.lab.commands import Asked
from tests.lab.guests import Queue

HELLO = vm.Command(["echo", "hello"])
DEADLY = vm.Command(["sh", "-c", "kill -9 $PPID"])
HANGING = vm.Command(["sh", "-c", "kill -STOP $PPID"], timeout=0)


@pytest.fixture(autouse=True)
def guests(monkeypatch) -> list[Path]:
    """Where each guest was booted."""
    folders: list[Path] = []

    def start(name: str, share: Path, console) -> subprocess.Popen[bytes]:
        folders.append(share)
        return subprocess.Popen([sys.executable, guest.__file__, str(share)], stdout=console, stderr=console)

    monkeypatch.setattr(boot, "start", start)
    monkeypatch.setattr(vm, "MARGIN", 1.5)
    monkeypatch.setattr(vm, "LOOK", 0.05)
    return folders


def test_all_in_one_guest(guests):
    results = vm.run("6.1", [HELLO, vm.Command(["cat", "text"]), HELLO], files={"text": ""})
    assert [result.code for result in results] == [0, 1, 0] and results[2].stdout == "hello\n"
    assert len(guests) == 1


@pytest.mark.parametrize(
    ("bad", "why"), [(DEADLY, "QEMU ended with -9"), (HANGING, "the guest hangs")], ids=["dies", "hangs"]
)
def test_the_others_still_have_results(guests, bad, why):
    results = vm.run("6.1", [HELLO, bad, HELLO])
    assert [result.code for result in results] == [0, None, 0]
    assert why in results[1].stderr
    assert len(guests) == vm.TRIES


def test_never_more_than_so_many_guests(guests):
    results = vm.run("6.1", [DEADLY] * 4)
    assert [result.code for result in results] == [None] * 4
    assert len(guests) == vm.BOOTS


def test_no_time_is_left(guests):
    result = vm.run("6.1", [vm.Command(["sleep", "9"])], timeout=1)[0]
    assert result.code is None and "no time is left" in result.stderr
    assert len(guests) == 1


def test_a_panic_ends_the_guest_at_once(guests):
    loud = vm.Command(["sh", "-c", "echo '[ 2.1] Kernel panic - not syncing' >> /proc/$PPID/fd/1; sleep 30"])
    results = vm.run("6.1", [loud, HELLO])
    assert [result.code for result in results] == [None, 0]
    assert "Kernel panic - not syncing" in results[0].stderr


def test_all_kernels_have_their_turn(guests, monkeypatch):
    """One guest at first, two from then on; a kernel that cannot be booted asks for none."""
    monkeypatch.setattr(boot, "unavailable", {"5.10": "", "6.1": "none", "6.12": "", "7": ""}.get)
    monkeypatch.setattr(
        "tests.lab.guests.asked", lambda name, tests: [Asked("said", vm.Command(["echo", name, *tests]))]
    )
    queue = Queue(["5.10", "6.1", "6.12", "7"], {"test"})
    queue.serve(1)
    queue.serve(2)
    queue.join()
    assert queue.found.pop("6.1") == {"why": "none"} and len(guests) == 3
    said = {name: found["results"]["said"]["stdout"] for name, found in queue.found.items()}
    assert said == {name: f"{name} test\n" for name in ("5.10", "6.12", "7")}
