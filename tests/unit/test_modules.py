"""Modules found without Python's search: only those that are as Python itself would load them."""

from __future__ import annotations

import ast
import importlib
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from pbt.modules import Finder

FINDER = Finder("made")


def _made(folder: Path, text: str = "x = 1\n") -> Path:
    path = folder / "some.py"
    path.write_text(text)
    py_compile.compile(str(path))
    return path


def test_a_module_as_python_makes_it(tmp_path: Path) -> None:
    path = _made(tmp_path)
    spec = FINDER.find_spec("made.some", [str(tmp_path)])
    assert spec is not None and spec.loader is not None
    assert (spec.origin, spec.has_location, spec.parent) == (str(path), True, "made")
    assert spec.cached is not None and Path(spec.cached).exists()
    assert spec.loader.get_source("made.some") == "x = 1\n"  # type: ignore[attr-defined]


def test_what_is_left_to_python(tmp_path: Path) -> None:
    path = _made(tmp_path)
    folder = [str(tmp_path)]
    assert FINDER.find_spec("made.some", None) is None
    assert FINDER.find_spec("other.some", folder) is None
    assert FINDER.find_spec("made.none", folder) is None
    assert FINDER.find_spec("made.some", [str(tmp_path / "archive.pyz")]) is None
    os.utime(path, (1, 1))
    assert FINDER.find_spec("made.some", folder) is None, "another time"
    py_compile.compile(str(path))
    assert FINDER.find_spec("made.some", folder) is not None
    (kept,) = (tmp_path / "__pycache__").iterdir()
    kept.write_bytes(kept.read_bytes()[:40])
    assert FINDER.find_spec("made.some", folder) is None, "cut off"
    kept.write_bytes(b"")
    assert FINDER.find_spec("made.some", folder) is None, "empty"


def test_a_module_for_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "sample_later"
    home.mkdir()
    (home / "__init__.py").write_text(
        "from pbt.modules import later\nlater(__name__, 'rare')\nfrom sample_later.often import double\n"
    )
    (home / "often.py").write_text(
        "from sample_later import rare\ndef double():\n    return 2 * rare.number\n"
    )
    (home / "rare.py").write_text("number = 21\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    double = importlib.import_module("sample_later").double
    assert "sample_later.rare" not in sys.modules
    assert double() == 42 and "sample_later.rare" in sys.modules
    assert importlib.import_module("sample_later").rare is sys.modules["sample_later.rare"]
    often = importlib.import_module("sample_later.often")
    with pytest.raises(AttributeError, match="nothing"):
        _ = often.rare.nothing


def test_no_module_binds_its_names_anew() -> None:
    package = Path(__file__).parents[2] / "pbt"
    trees = {path: ast.parse(path.read_text()) for path in package.rglob("*.py")}
    assert len(trees) > 300
    assert not [
        path for path, tree in trees.items() if any(isinstance(n, ast.Global) for n in ast.walk(tree))
    ]


def test_the_command_says_all_before_it_ends() -> None:
    command = [sys.executable, "-m", "pbt", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "EXAMPLES:" in done.stdout and not done.stderr
    wrong = subprocess.run([*command[:3], "-e", "BEGIN {"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 1 and "syntax error" in wrong.stderr
