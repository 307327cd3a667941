"""Control groups: cgroup cgroupid cgroup_path."""

from __future__ import annotations

import os
import sys
from functools import cache

from pbt.builtins.process import always, helper
from pbt.feature import Builtin, Call, Mem, Presentation
from pbt.source import UsageError
from pbt.types import U64, Opaque, Type, is_integral
from pbt.typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pbt.ir.core import Value
    from pbt.views import Checks, Gen, World

UNIFIED = "unified"  # what the one hierarchy of cgroup2 is called


def _check_cgroupid(checks: Checks, call: Call) -> Type:
    from pbt.sys.handle import cgroup_id

    path = checks.literal_str(call.args[0], "cgroupid() path")
    try:
        checks.keep(call.node, cgroup_id(path))
    except UsageError as error:
        raise checks.error(error.message, checks.span(call.args[0]), error.hint) from error
    return U64


def _cgroupid(gen: Gen, call: Call) -> Value:
    return gen.b.const(gen.kept(call.node))


def _check_path(checks: Checks, call: Call) -> Type:
    if not is_integral(call.types[0]):
        raise checks.error(f"cgroup_path() expects the id of a cgroup ({call.types[0]} provided)", call.span)
    pattern = checks.literal_str(call.args[1], "cgroup_path() filter") if len(call.args) > 1 else "*"
    return Opaque("cgroup_path", 8, 8, pattern)


def _path(gen: Gen, call: Call, to: Mem) -> None:
    gen.b.store(to.base, to.offset, 8, gen.value(call.args[0]))


def _hierarchies(pattern: str) -> Iterator[tuple[str, str]]:
    """(name, folder) of the mounted hierarchies whose name fits: those of v1 are called as their folder."""
    from fnmatch import fnmatchcase

    from pbt.sys.mount import mounts

    found = [(UNIFIED, path) for path in mounts("cgroup2")[:1]]
    found += [(os.path.basename(path), path) for path in mounts("cgroup")]
    return ((name, path) for name, path in found if fnmatchcase(name, pattern))


def _find(root: str, number: int) -> str | None:
    """The path, from the root of a hierarchy, of the folder with an inode number."""
    for folder, _, _ in os.walk(root):
        try:
            if os.stat(folder).st_ino == number:
                return folder[len(root) :] or "/"
        except OSError:  # gone in the meantime
            continue
    return None


@cache
def _known(root: str, number: int) -> list[str]:
    """Room for one answer; numbers are not given out again while a script runs."""
    return []


def _look_up(root: str, number: int) -> str | None:
    known = _known(root, number)
    if not known and (found := _find(root, number)) is not None:
        known.append(found)
    return known[0] if known else None


def _draw_path(world: World, raw: bytes, detail: str) -> str:
    number = int.from_bytes(raw, sys.byteorder)
    rows = ((name, _look_up(root, number)) for name, root in _hierarchies(detail))
    return ",".join(f"{name}:{path}" for name, path in rows if path is not None)


CGROUP = Builtin(
    "cgroup", "() -> uint64", "Id of the cgroup (v2) of the current process.",
    always(U64), helper("get_current_cgroup_id"), variable=True,
)  # fmt: skip
CGROUPID = Builtin(
    "cgroupid", "(path) -> uint64", "Id of the cgroup (v2) at a path.", _check_cgroupid, _cgroupid,
    files=True,
)  # fmt: skip
CGROUP_PATH = Builtin(
    "cgroup_path", "(id [, filter]) -> cgroup_path_t",
    "Where a cgroup is, as hierarchy:path; the filter selects hierarchies.",
    _check_path, into=_path,
)  # fmt: skip
DRAW_CGROUP_PATH = Presentation(
    "cgroup_path", lambda world, raw, detail: os.fsencode(_draw_path(world, raw, detail)), _draw_path,
    spelled="cgroup_path_t",
)  # fmt: skip
