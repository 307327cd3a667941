from __future__ import annotations

import pytest

from pbt.cli import main as command
from pbt.cli.say import painted, say


def test_levels_are_painted_where_they_stand_for_one() -> None:
    assert painted("x.bt:1:2: ERROR: no ERROR: here") == "x.bt:1:2: \x1b[31mERROR\x1b[0m: no ERROR: here"
    assert painted("WARNING: odd\nHINT: do") == "\x1b[33mWARNING\x1b[0m: odd\n\x1b[36mHINT\x1b[0m: do"
    assert painted('printf("WARNING: no")') == 'printf("WARNING: no")'


@pytest.mark.parametrize(
    ("mode", "color"), [("always", True), ("never", False), ("auto", False), ("", False)]
)
def test_when(
    mode: str, color: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BPFTRACE_COLOR", mode)
    say("ERROR: no")
    assert ("\x1b[" in capsys.readouterr().err) is color


def test_a_library_that_finds_no_memory_is_an_error_in_words(monkeypatch, capsys):
    def refused(name):
        raise ImportError("x.so: failed to map segment from shared object")

    monkeypatch.setattr(command, "import_module", refused)
    assert command.main(["-V"]) == 1
    assert "ERROR: a part of Python or pbt cannot be loaded: x.so" in capsys.readouterr().err
