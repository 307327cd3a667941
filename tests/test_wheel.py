"""What is made of the sources, wheels and pbt.pyz: modules that do the same, line for line, and run."""

from __future__ import annotations
import __future__

import ast
import builtins
import dis
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
FUTURE = __future__.annotations.compiler_flag
FILES = sorted((ROOT / "pbt").rglob("*.py"))


class _Read(ast.NodeTransformer):
    """Takes away all that may be left out, and imports, whether they may or not."""

    def __init__(self) -> None:
        self.in_class = [False]

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._inside(node, True)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self._inside(node, False)

    visit_AsyncFunctionDef = visit_FunctionDef

    def _inside(self, node: ast.AST, in_class: bool) -> ast.AST:
        self.in_class.append(in_class)
        self.generic_visit(node)
        self.in_class.pop()
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            here = {"lineno": getattr(node, "lineno", 1), "col_offset": 0}
            node.body = [ast.Pass(**here)]  # type: ignore[attr-defined]
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if self.in_class[-1]:
            return node
        return node.value and ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        is_unseen = ast.unparse(node.test) == "TYPE_CHECKING" and not node.orelse
        return None if is_unseen else self.generic_visit(node)

    def visit_Import(self, node: ast.AST) -> None:
        return None

    visit_ImportFrom = visit_Pass = visit_Import


def _compiled(source: str, public: bool = False) -> CodeType:
    """Byte code of a module without what may be left out."""
    tree = ast.parse(source)
    read: ast.Module = tree if public else _Read().visit(tree)
    code: CodeType = compile(read, "made", "exec", FUTURE, dont_inherit=True)
    return code


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
    assert left < 0.75 * whole


def test_names_are_still_imported() -> None:
    for path in FILES:
        source = path.read_text()
        assert _missing(SETUP.bare(source, False)) <= _missing(source), path


def _missing(source: str) -> set[str]:
    """Names that are read, and that neither the module nor Python gives."""
    codes = [*_inner(compile(source, "made", "exec", dont_inherit=True))]
    steps = [step for code in codes for step in dis.get_instructions(code)]
    given = {step.argval for step in steps if step.opname in ("STORE_NAME", "STORE_GLOBAL")}
    read = {step.argval for step in steps if step.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    return read - given - set(dir(builtins))


def _inner(code: CodeType) -> Iterator[CodeType]:
    yield code
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _inner(const)


def test_a_missing_name_is_found() -> None:
    assert _missing("import os\nos.x\ndef f(a): return a, os, b\n") == {"b"}


def _docstrings(source: str) -> Iterator[str | None]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            yield ast.get_docstring(node)


_LATER = "from __future__ import annotations\n"


@pytest.mark.parametrize(
    ("source", "made"),
    [
        (
            'def f():\n    """One.\n\n    Two."""\n    return "# no"  # yes\n',
            'def f():\n\n\n\n return "# no"\n',
        ),
        ('class E(Exception):\n    "Why."\n', 'class E(Exception):\n ""\n'),
        ('x = 1  # ä\n"""What x is."""\n', "x=1\n\n"),
        ("#!/bin/sh\n# a\nx = '''\n# b\n'''", "#!/bin/sh\n\nx='''\n# b\n'''"),
        ('async def f(): "ä"\n', 'async def f():""\n'),
        ("def f(ä: int = 0, *b: str) -> C:\n    c: int = ä\n    c\n", "def f(ä=0,*b):\n c=ä\n c\n"),
        ("def f(\n    a: dict[\n        b\n    ],\n) -> None: ...\n", "def f(\na,\n\n\n):...\n"),
        (_LATER + "import a, b\nx: a.T = b.x()\n", "\nimport b\nx=b.x()\n"),
        ("from a import (\n    B,\n    C,\n)\nx: B = C\n", "from a import C\n\n\n\nx=C\n"),
        ("from a import B, C\nclass D(C):\n    x: B\n", "from a import B,C\nclass D(C):\n x:B\n"),
        (
            _LATER + "from a import B, C\nclass D(C):\n    x: B\n",
            _LATER + "from a import C\nclass D(C):\n x:B\n",
        ),
        ("if TYPE_CHECKING:\n    import a\nx = 1\n", "\n\nx=1\n"),
        ("def f():\n    import a\n", "def f():\n pass\n"),
        ("def f():\n    a: int\n    a = '''\n    b'''\n", "def f():\n\n a='''\n    b'''\n"),
        (
            "if a:\n    # b\n    b = 1\n    # c\n\nc = {\n    d: -1,\n}\n",
            "if a:\n\n b=1\n\n\nc={\nd:-1,\n}\n",
        ),
        ("a = 1 if b else 2 .c\nd = not [*e]\n", "a=1 if b else 2 .c\nd=not[*e]\n"),
        ("a = 1 + \\\n    b\n", "a=1+ \\\n    b\n"),
        ('a = f"{b = } {{ {c [0]:>{d }} }}"\n', 'a=f"{b = } {{ {c [0]:>{d }} }}"\n'),
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
        assert _meaning(_compiled(SETUP.bare(source, True), True)) == _meaning(_compiled(source, True))
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
    assert {p.relative_to(built) for p in built.rglob("*.py")} == {p.relative_to(ROOT) for p in FILES}
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
