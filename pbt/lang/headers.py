"""Headers that scripts include: where they are, and what they define.

A header costs nothing until a name is looked for that it, or a file it includes, mentions; only then are
all of the script's directives carried out (`cpp`) and the definitions read (`cdefs`). That needs the two
packages of the optional extra `cpp`. A header that is not there is no mistake as long as every name that
the script uses is known otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from pbt.data import NamedTuple, dataclass, field
from pbt.lang.preprocess import Define, Include
from pbt.source import ScriptError, Source, Span
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pbt.arch import Arch
    from pbt.lang import ast

OWN = str(Path(__file__).with_name("include"))
"""What a compiler brings along: <stddef.h> and the like."""

EXTRA = "pip install 'pbt-bpf[cpp]'"
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include(?:_next)?[ \t]*(?:<([^>\n]+)>|"([^"\n]+)")', re.MULTILINE)
_PASTED = re.compile(r"(\w*)[ \t]*##[ \t]*(?=(\w*))")
_MOST_FILES = 5000


@dataclass(frozen=True)
class Search:
    """Where headers are looked for. `first`: folders a user names (-I, CPATH); `system`: all others;
    `include`: files that come before the script's own directives; `defines`: "NAME value" each."""

    first: tuple[str, ...] = ()
    system: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    defines: tuple[str, ...] = ()

    @property
    def folders(self) -> tuple[str, ...]:
        return self.first + self.system

    def find(self, name: str, beside: str | None) -> str | None:
        """The file of that name. `beside`: the folder of the file whose quoted include it is."""
        for folder in (*((beside,) if beside is not None else ()), *self.folders):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return os.path.abspath(path)
        return None


def search(
    arch: Arch,
    release: str,
    environment: Mapping[str, str],
    folders: Sequence[str] = (),
    include: Sequence[str] = (),
) -> Search:
    """The folders of this machine, in a C compiler's order; the kernel's own tree before those of libc."""
    from_environment = {name: _split(environment.get(name, "")) for name in ("CPATH", "C_INCLUDE_PATH")}
    kernel = _kernel_folders(arch, release, environment)
    system = (
        *from_environment["C_INCLUDE_PATH"], *kernel, "/usr/local/include",
        *((f"/usr/include/{arch.triplet}",) if arch.triplet else ()), "/usr/include", OWN,
    )  # fmt: skip
    defines = (
        *_machine(arch),
        *(("__KERNEL__ 1", "__BPF_TRACING__ 1", 'KBUILD_MODNAME "pbt"') if kernel else ()),
    )
    before = tuple(f for f in ("linux/kconfig.h",) if kernel)
    return Search((*folders, *from_environment["CPATH"]), system, (*before, *include), defines)


def _split(path: str) -> tuple[str, ...]:
    return tuple(filter(None, path.split(":")))


def _kernel_folders(arch: Arch, release: str, environment: Mapping[str, str]) -> tuple[str, ...]:
    """The header folders of a kernel's source tree, in the order of its own Makefile, if there is one."""
    modules = f"/lib/modules/{release}"
    source = environment.get("BPFTRACE_KERNEL_SOURCE") or f"{modules}/source"
    build = environment.get("BPFTRACE_KERNEL_BUILD") or f"{modules}/build"
    source = source if os.path.isdir(source) else build
    build = build if os.path.isdir(build) else source
    if not os.path.isdir(source):
        return ()
    pairs = (
        (source, f"arch/{arch.source}/include"), (build, f"arch/{arch.source}/include/generated"),
        (source, "include"), (build, "include"), (source, f"arch/{arch.source}/include/uapi"),
        (build, f"arch/{arch.source}/include/generated/uapi"), (source, "include/uapi"),
        (build, "include/generated/uapi"),
    )  # fmt: skip
    return tuple(folder for base, part in pairs if os.path.isdir(folder := os.path.join(base, part)))


_TYPES = {
    "SIZE": "unsigned long", "PTRDIFF": "long", "WCHAR": "int", "WINT": "unsigned int", "INTMAX": "long",
    "UINTMAX": "unsigned long", "INTPTR": "long", "UINTPTR": "unsigned long", "INT8": "signed char",
    "INT16": "short", "INT32": "int", "INT64": "long", "UINT8": "unsigned char", "UINT16": "unsigned short",
    "UINT32": "unsigned int", "UINT64": "unsigned long",
}  # fmt: skip
_SIZES = {
    "SHORT": 2, "INT": 4, "LONG": 8, "LONG_LONG": 8, "POINTER": 8, "SIZE_T": 8, "FLOAT": 4, "DOUBLE": 8,
    "LONG_DOUBLE": 16, "WCHAR_T": 4, "INT128": 16,
}  # fmt: skip
_MOST = {"SCHAR": 7, "SHRT": 15, "INT": 31, "LONG": 63, "LONG_LONG": 63, "WCHAR": 31, "INTMAX": 63}


def _machine(arch: Arch) -> tuple[str, ...]:
    """What a compiler for LP64 Linux defines by itself, as far as headers ask for it."""
    order = "__ORDER_LITTLE_ENDIAN__" if arch.byteorder == "little" else "__ORDER_BIG_ENDIAN__"
    return (
        "__STDC__ 1", "__STDC_VERSION__ 201112L", "__STDC_HOSTED__ 1", "__GNUC__ 12", "__GNUC_MINOR__ 2",
        "__linux__ 1", "__linux 1", "__unix__ 1", "__ELF__ 1", "__LP64__ 1", "_LP64 1", "__CHAR_BIT__ 8",
        "__ORDER_LITTLE_ENDIAN__ 1234", "__ORDER_BIG_ENDIAN__ 4321", f"__BYTE_ORDER__ {order}",
        *(f"__{name}_TYPE__ {words}" for name, words in _TYPES.items()),
        *(f"__SIZEOF_{name}__ {size}" for name, size in _SIZES.items()),
        *(f"__{name}_MAX__ {(1 << bits) - 1}{'L' if bits > 31 else ''}" for name, bits in _MOST.items()),
        *(" ".join((*macro.split("="), "1")[:2]) for macro in arch.macros),
    )  # fmt: skip


class Read(NamedTuple):
    """What headers define: macros without parameters, and definitions by their spelling ("struct x")."""

    defines: Mapping[str, Define]
    definitions: Mapping[str, ast.Definition]
    enumerations: Mapping[str, ast.EnumDef]  # by the names of their constants


NOTHING = Read({}, {}, {})


@dataclass
class Headers:
    """All that one script includes, in the order of its directives."""

    search: Search
    lines: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    missing: list[Include] = field(default_factory=list)
    _outside: bool = False  # whether the two packages are wanted and not there

    def __post_init__(self) -> None:
        for name in self.search.include:
            quoted = name != "linux/kconfig.h"
            path = self.search.find(name, "." if quoted else None)
            if path is None and quoted:
                raise ScriptError(
                    f"--include: there is no file {name}", _at(f'#include "{name}"', "--include")
                )
            if path is not None:
                self._add(path)

    def directive(self, text: str, include: Include | None = None) -> None:
        """The script's next directive: `#define`, `#undef`, or an include."""
        if include is None:
            self.lines.append(text)
            return
        beside = os.path.dirname(include.span.source.name) or "."
        path = self.search.find(include.name, beside if include.quoted else None)
        if path is None:
            self.missing.append(include)
        else:
            self._add(path)

    def _add(self, path: str) -> None:
        self.roots.append(path)
        self.lines.append(f'#include "{path}"')
        self.__dict__.pop("texts", None)
        self.__dict__.pop("read", None)
        self.__dict__.pop("_pasted", None)

    # --- what they say

    def define(self, name: str) -> Define | None:
        return self.read.defines.get(name) if self._mentions(name) else None

    def definition(self, spelled: str) -> ast.Definition | None:
        return self.read.definitions.get(spelled) if self._mentions(spelled.split()[-1]) else None

    def enumeration(self, constant: str) -> ast.EnumDef | None:
        return self.read.enumerations.get(constant) if self._mentions(constant) else None

    def own(self, name: str) -> bool:
        """Whether a file outside the system's folders mentions a name: then it does not mean what it
        always means."""
        folders = tuple(os.path.abspath(folder) + os.sep for folder in self.search.system)
        word = re.compile(rf"\b{re.escape(name)}\b")
        return any(not path.startswith(folders) and word.search(text) for path, text in self.texts.items())

    def unread(self, name: str) -> bool:
        """Whether the headers mention a name, and the packages to read them are not there."""
        return self._outside and self._mentions(name.split()[-1])

    def hint(self, name: str) -> str:
        """What would make a name known that is not."""
        if self.unread(name):
            return f"the script's headers may define it, but reading them needs two packages: {EXTRA}"
        if self.missing:
            names = " or ".join(_written(include) for include in self.missing[:3])
            return f"{names} was not found: -I DIR says where headers are, or define {name} in the script"
        return ""

    def _mentions(self, name: str) -> bool:
        if not self.roots:
            return False
        word = re.compile(rf"\b{re.escape(name)}\b")
        if any(word.search(text) for text in self.texts.values()):
            return True
        return any(name.startswith(part) or name.endswith(part) for part in self._pasted)

    @cached_property
    def _pasted(self) -> frozenset[str]:
        """Beginnings and ends of names that macros put together."""
        found = (pair for text in self.texts.values() if "##" in text for pair in _PASTED.findall(text))
        return frozenset(part for pair in found for part in pair if len(part) > 2)

    @cached_property
    def texts(self) -> dict[str, str]:
        """All files that the headers include, however conditionals may turn out: path → text."""
        found: dict[str, str] = {}
        pending = list(self.roots)
        while pending and len(found) < _MOST_FILES:
            path = pending.pop()
            if path in found:
                continue
            found[path] = text = _text(path)
            for angled, quoted in _INCLUDE.findall(text):
                beside = os.path.dirname(path) if quoted else None
                paths = [p for p in self._all(angled or quoted, beside) if p != path]
                pending += paths[:1] if "include_next" not in text else paths
        return found

    def _all(self, name: str, beside: str | None) -> list[str]:
        folders = (*((beside,) if beside else ()), *self.search.folders)
        paths = (os.path.abspath(os.path.join(folder, name)) for folder in folders)
        return [path for path in paths if os.path.isfile(path)]

    @cached_property
    def read(self) -> Read:
        try:
            from pbt.lang import cdefs, cpp
        except ImportError:
            self._outside = True
            return NOTHING
        made = cpp.run("\n".join(self.lines) + "\n", self.search)
        definitions = cdefs.read(made.declarations)
        return Read(made.defines, definitions, cdefs.by_constant(definitions.values()))


def _written(include: Include) -> str:
    return f'"{include.name}"' if include.quoted else f"<{include.name}>"


def _at(text: str, name: str) -> Span:
    return Span(Source(name, text), 0, len(text))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
