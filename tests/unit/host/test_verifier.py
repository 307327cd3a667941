"""Answers of the kernel's verifier are kept where only the user can write, and believed only there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pbt.host import verifier


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A kernel that answers, and how often it was asked."""
    count: list[int] = []

    def load(programs: verifier.Programs) -> dict[str, bool]:
        count.append(len(programs))
        return dict.fromkeys(programs, True)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("PBT_NO_CACHE", raising=False)
    monkeypatch.setattr(verifier, "_load", load)
    return count


def _programs() -> verifier.Programs:
    return {"one": ("SOCKET_FILTER", b"", ())}


def test_asked_once(asked: list[int]) -> None:
    assert verifier.accepted(_programs, ask=False) is None
    assert verifier.accepted(_programs) == {"one": True}
    assert verifier.accepted(_programs) == {"one": True}
    assert verifier.accepted(_programs, ask=False) == {"one": True}
    assert asked == [1]


def test_what_others_may_write_is_not_believed(asked: list[int], tmp_path: Path) -> None:
    verifier.accepted(_programs)
    (file,) = (tmp_path / "pbt").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text(json.dumps({"one": False}))
    file.chmod(0o666)
    assert verifier.accepted(_programs) == {"one": True}
    assert asked == [1, 1]
    (tmp_path / "pbt").chmod(0o777)
    assert verifier.accepted(_programs, ask=False) is None


def test_garbage_is_not_believed(asked: list[int], tmp_path: Path) -> None:
    verifier.accepted(_programs)
    (file,) = (tmp_path / "pbt").iterdir()
    file.write_text("[1, 2")
    assert verifier.accepted(_programs) == {"one": True}


def test_cpus(tmp_path: Path) -> None:
    possible = tmp_path / "possible"
    possible.write_text("0-3,5\n")
    assert verifier.cpus(str(possible)) == 6
    assert verifier.cpus(str(tmp_path / "none")) == 0
