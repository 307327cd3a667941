"""Builds pbt.pyz: the package in one file that Python runs, where lark need not be installed.

    python -m bench.pyz [FILE]

What every script needs is in it as byte code of the Python that builds it, and the file is for that Python;
the rest as sources without comments, as in a wheel. Printed are its size, and those of a wheel and of what pip
installs.
"""

from __future__ import annotations

import json
import marshal
import re
import subprocess
import sys
import zipfile
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType

from bench.tools import explained, flag, table
from setup import bare

ROOT = Path(__file__).parent.parent
_MAIN = """\
import sys
if sys.version_info[:2] != %r:
    sys.exit("ERROR: this file was built for another Python than " + sys.version.split()[0])
from pbt.cli.main import main
sys.exit(main())
"""
_START = b"#!/usr/bin/env python3\n"


def needed() -> list[str]:
    """Modules of pbt that a small script imports, in that order."""
    words = [sys.executable, "-X", "importtime", "-m", "pbt", "-e", "BEGIN { exit(); }"]
    log = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False).stderr
    return [name for name in re.findall(r"\| +(pbt\S*)$", log, re.MULTILINE) if name != "pbt.__main__"]


def build(made: Path) -> int:
    """Write the file; its size in bytes."""
    files = {str(p.relative_to(ROOT)): p.read_bytes() for p in (ROOT / "pbt").rglob("*") if p.is_file()}
    sources = {name: data for name, data in files.items() if "__pycache__" not in name}
    sources |= {f"pbt/tools/{p.name}": p.read_bytes() for p in (ROOT / "tools").glob("*.bt")}
    compiled = {_path(module, sources) for module in needed()}
    with open(made, "wb") as file:
        file.write(_START)
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            archive.writestr(_entry("__main__.py"), _MAIN % (sys.version_info[:2],))
            for name in sorted(sources):
                if name in compiled:
                    archive.writestr(_entry(name + "c"), _code(name))
                else:
                    archive.writestr(_entry(name), _bare(name, sources[name]))
    made.chmod(0o755)
    return made.stat().st_size


def _bare(name: str, data: bytes) -> bytes:
    return bare(data.decode(), False).encode() if name.endswith(".py") else data


def _code(name: str) -> bytes:
    """What a .pyc holds that Python takes without asking for the source (PEP 552)."""
    source = bare((ROOT / name).read_text(), False)
    code = compile(source, name, "exec", dont_inherit=True, optimize=2)
    return MAGIC_NUMBER + (1).to_bytes(12, "little") + marshal.dumps(_stripped(code))


def _stripped(code: CodeType) -> CodeType:
    """Without the table of line numbers, a third of its size: tracebacks, which nobody should see, name no lines."""
    inner = tuple(_stripped(c) if isinstance(c, CodeType) else c for c in code.co_consts)
    return code.replace(co_consts=inner, co_linetable=b"")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _path(module: str, sources: dict[str, bytes]) -> str:
    path = module.replace(".", "/")
    return f"{path}.py" if f"{path}.py" in sources else f"{path}/__init__.py"


def wheel() -> tuple[int, int]:
    """The size of a wheel, and of the files in it, in bytes."""
    with TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, str(ROOT)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        made = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(made) as archive:
            return made.stat().st_size, sum(entry.file_size for entry in archive.infolist())


def run(made: Path) -> dict[str, object]:
    rows: list[list[object]] = [["pbt.pyz", build(made) / 1e6]]
    packed, files = wheel()
    lark = find_spec("lark")
    if lark is not None and lark.origin is not None:
        beside = [p for p in Path(lark.origin).parent.rglob("*") if p.is_file() and p.suffix != ".pyc"]
        installed = files + sum(p.stat().st_size for p in beside)
        rows.append(["installed with lark, byte code not counted", installed / 1e6])
    rows.append(["wheel", packed / 1e6])
    return {"rows": rows, "text": table(["what", "MB"], rows)}


def main() -> None:
    explained(__doc__)
    if flag("json"):  # for bench.run: only sizes are wanted
        with TemporaryDirectory() as folder:
            print(json.dumps(run(Path(folder) / "pbt.pyz")))
        return
    made = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "pbt.pyz"
    print(f"{made}\n{run(made)['text']}")


if __name__ == "__main__":
    main()
