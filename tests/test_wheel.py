"""What is made of the sources, wheels and pbt.pyz: modules that do the same, line for line, and run."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import pbt
from bench.pyz import build

ROOT = Path(__file__).parent.parent


def _setup() -> Any:
    spec = spec_from_file_location("setup", ROOT / "setup.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETUP = _setup()
FILES = sorted((ROOT / "pbt").rglob("*.py"))


def _is_text(statement: ast.stmt) -> bool:
    value = getattr(statement, "value", None)
    return (
        isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str)
    )


def _compiled(source: str) -> CodeType:
    """Byte code of a module without the texts that stand alone."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [s for s in body if not _is_text(s)]
            here = {"lineno": getattr(node, "lineno", 1), "col_offset": 0}
            node.body = kept or [ast.Pass(**here)]  # type: ignore[attr-defined]
    return compile(tree, "made", "exec")


def _meaning(code: CodeType) -> tuple[object, ...]:
    """All that runs, and the lines of it."""
    consts = [_meaning(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts]
    return code.co_code, list(code.co_lines()), code.co_names, code.co_varnames, code.co_name, consts


def test_modules_mean_the_same_on_the_same_lines() -> None:
    left = whole = 0
    for path in FILES:
        source = path.read_text()
        made = SETUP.bare(source, False)
        assert len(made.split("\n")) == len(source.split("\n")), path
        assert _meaning(_compiled(made)) == _meaning(_compiled(source)), path
        assert not any(_docstrings(made)), path
        left, whole = left + len(made), whole + len(source)
    assert left < 0.9 * whole


def _docstrings(source: str) -> Iterator[str | None]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield ast.get_docstring(node)


@pytest.mark.parametrize(
    ("source", "made"),
    [
        (
            'def f():\n    """One.\n\n    Two."""\n    return "# no"  # yes\n',
            'def f():\n\n\n\n    return "# no"\n',
        ),
        ('class E(Exception):\n    "Why."\n', 'class E(Exception):\n    ""\n'),
        ('x = 1  # ä\n"""What x is."""\n', "x = 1\n\n"),
        ("#!/bin/sh\n# a\nx = '''\n# b\n'''", "#!/bin/sh\n\nx = '''\n# b\n'''"),
        ('async def f(): "ä"\n', 'async def f(): ""\n'),
    ],
)
def test_what_goes(source: str, made: str) -> None:
    assert SETUP.bare(source, False) == made
    assert SETUP.bare(made, False) == made


def test_the_api_keeps_its_docstrings() -> None:
    assert {getattr(pbt, name).__module__ for name in pbt.__all__} < set(SETUP.PUBLIC)
    for name in SETUP.PUBLIC:
        path = Path(str(import_module(name).__file__))
        source = path.read_text()
        assert _meaning(_compiled(SETUP.bare(source, True))) == _meaning(_compiled(source))
        assert list(_docstrings(SETUP.bare(source, True))) == list(_docstrings(source))


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which a wheel was installed."""
    setuptools = pytest.importorskip("setuptools")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("setuptools is older than pyproject.toml wants")
    folder = tmp_path_factory.mktemp("wheel")
    source, wheels, built = folder / "source", folder / "wheels", folder / "built"
    _copy(source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source))
    (wheel,) = wheels.iterdir()
    _pip("install", "--no-deps", "--no-index", "--target", str(built), str(wheel))
    return built


def _copy(source: Path) -> None:
    for name in ("pbt", "tools"):
        shutil.copytree(
            ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)


def _pip(*words: str) -> None:
    command = [sys.executable, "-m", "pip", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(built: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(built), "PBT_NO_CACHE": "1"}
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=built, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_what_is_built(built: Path) -> None:
    ours = {p.relative_to(ROOT) for p in FILES}
    assert {p.relative_to(built) for p in built.rglob("*.py")} == ours
    assert (built / "pbt/lang/table.bin").exists() and (built / "pbt/tools/opensnoop.bt").exists()
    shown = "import pbt; print(pbt.__file__); help(pbt); help(pbt.trace)"
    text = _run(built, "-c", shown)
    assert text.startswith(str(built)) and str(pbt.trace.__doc__).strip().splitlines()[0] in text
    assert "import pbt.runtime" in text
    assert "EXAMPLES:" in _run(built, "-m", "pbt", "--help")
    assert "call" in _run(built, "-m", "pbt", "-d", "bpf", "-e", "BEGIN { @[pid] = count(); }")


@pytest.mark.live
def test_what_is_built_runs(built: Path) -> None:
    script = r'BEGIN { printf("hello %d\n", 41 + 1); exit(); }'
    assert "hello 42\n" in _run(built, "-m", "pbt", "-e", script)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("archive") / "pbt.pyz"
    assert build(made) <= 1_000_000
    return made


def test_the_archive_has_all(archive: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        return _run(tmp_path, str(archive), *words)

    assert "EXAMPLES:" in run("--help")
    assert run("tool").splitlines()[0].startswith("bashreadline ")
    assert len(run("tool").splitlines()) == len(list((ROOT / "tools").glob("*.bt")))
    assert "--failed" in run("tool", "opensnoop", "--help")
    assert "call" in run("-d", "bpf", "-e", "BEGIN { @[pid] = count(); }")


@pytest.mark.live
def test_the_archive_runs_tools(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(100))
    shown = _run(tmp_path, str(archive), "tool", "-c", f"cat {tmp_path}/big", "opensnoop")
    assert f"{tmp_path}/big" in shown
