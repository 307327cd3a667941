"""Files brought in by `import`: scripts, headers, folders of both.

What a script defines comes before what imports it. A header is read as if an `#include` named it after all
directives of the script. Files that anybody may write are refused: importing them would run what they say.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from pbt.lang import ast
from pbt.lang.preprocess import Include, Known
from pbt.source import ScriptError, Source
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.lang.parse import Parsed

Parse = Callable[[Source], "Parsed"]

BUILT_IN = frozenset(
    (
        "stdlib",
        *(f"stdlib/{name}" for name in ("map", "process", "strings", "system", "task", "test", "usdt")),
    )
)
"""Parts of bpftrace's standard library: all that they define is known without them."""


def bring_in(parsed: Parsed, parse: Parse, headers: Known | None) -> Parsed:
    """The script with everything that its imports define put before its own; each file once.

    `headers` are told of the headers among them; they are None only for scripts that import nothing.
    """
    if not parsed.script.imports:
        return parsed
    parts = [*_gathered(parsed, parse, headers, {os.path.realpath(parsed.script.span.source.name)}), parsed]
    for part in parts[:-1]:
        if part.script.settings:
            raise ScriptError("an imported file cannot have a config block", part.script.settings[0].span)
    joined = {
        name: tuple(item for part in parts for item in getattr(part.script, name))
        for name in ("maps", "macros", "functions", "types", "probes")
    }
    script = ast.Script(
        parsed.script.span, parsed.script.settings, joined["maps"], joined["macros"], joined["functions"], (),
        joined["types"], joined["probes"],
    )  # fmt: skip
    defines = {name: define for part in parts for name, define in part.defines.items()}
    includes = tuple(include for part in parts for include in part.includes)
    warnings = tuple(warning for part in parts for warning in part.warnings)
    return type(parsed)(script, defines, includes, warnings)


def _gathered(parsed: Parsed, parse: Parse, headers: Known | None, seen: set[str]) -> Iterator[Parsed]:
    """The scripts that one imports, those that they import first; their headers are told on the way."""
    for node in parsed.script.imports:
        for path in _files(node):
            real = os.path.realpath(path)
            if real in seen:
                continue
            seen.add(real)
            text = _text(path, node)
            if path.endswith(".h"):
                assert headers is not None
                headers.directive("", Include(path, True, node.span))
            else:
                part = parse(Source(path, text))
                yield from _gathered(part, parse, headers, seen)
                yield part


READ = (".bt", ".h")
_NOT_IMPORTED = (
    (".c", ": C would need a compiler, which pbt does without", "fn and macro in a .bt file can be imported"),
    (".o", ": it is compiled already", "fn and macro in a .bt file can be imported"),
    ("", "", "a script (.bt), a header (.h), or a folder of them"),
)
"""(ending, why not, what to do) of files that bpftrace imports and pbt does not."""


def _files(node: ast.Import) -> list[str]:
    base = os.path.dirname(os.path.abspath(node.span.source.name))
    path = os.path.join(base, node.path)
    if os.path.isdir(path):
        if os.stat(path).st_mode & stat.S_IWOTH:
            raise _writable(path, node)
        return sorted(os.path.join(path, name) for name in os.listdir(path) if name.endswith(READ))
    if node.path in BUILT_IN and not os.path.exists(path):
        return []
    if not path.endswith(READ):
        reason, hint = next(row[1:] for row in _NOT_IMPORTED if path.endswith(row[0]))
        raise ScriptError(f"cannot import {node.path}{reason}", node.span, hint)
    return [path]


def _text(path: str, node: ast.Import) -> str:
    try:
        folder = os.stat(os.path.dirname(path)).st_mode
        if folder & stat.S_IWOTH and not folder & stat.S_ISVTX:  # anybody may put another file there
            raise _writable(os.path.dirname(path), node)
        errors = "replace" if path.endswith(".h") else "strict"  # headers' comments may be in any encoding
        with open(path, encoding="utf-8", errors=errors) as file:
            if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
                raise _writable(path, node)
            return file.read()
    except OSError as error:
        raise ScriptError(f"cannot import {node.path}: {error.strerror}", node.span) from None
    except UnicodeDecodeError:
        raise ScriptError(f"cannot import {node.path}: it is not UTF-8 text", node.span) from None


def _writable(path: str, node: ast.Import) -> ScriptError:
    return ScriptError(
        f"{path} may be written by anybody, so it is not imported", node.span, f"chmod o-w {path}"
    )
