"""Batches: one JSON object with a program a line in, one verdict a line out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from pbt.uapi.consts import ATTACH_TYPE, PROG_TYPE
from pbt.uapi.maps import MAP_BY_ID
from pbt.verifier_sim.kernels import features
from pbt.verifier_sim.progbtf import ProgramTypes
from pbt.verifier_sim.reg import Field, MapInfo

# BPF_F_STRICT_ALIGNMENT, BPF_F_ANY_ALIGNMENT, BPF_F_TEST_STATE_FREQ, BPF_F_SLEEPABLE
_STRICT, _ANY, _STATE_FREQ, _SLEEPABLE = 1 << 0, 1 << 1, 1 << 3, 1 << 4
_RDONLY_PROG = 1 << 7
_WRITTEN = {"6.18": "6.18.44", "6.18deb": "6.18.15"}
_UNCONFIGURED = frozenset(["override_return"])  # in all kernels of the batches that were measured
_LOCKED = frozenset(["override_return", "probe_write_user"])  # the one that is locked down


Rules = Callable[[str], Mapping[str, object]]


def _map(row: Mapping[str, Any], name: str) -> MapInfo:
    flags = row.get("flags", 0)
    fixed = row.get("frozen") and flags & _RDONLY_PROG and row.get("data")
    return MapInfo(
        name,
        MAP_BY_ID[row["type"]].name,
        row["key_size"],
        row["value_size"],
        row["max_entries"],
        flags,
        tuple(Field(f["kind"], f["off"], f["size"], f.get("struct", "")) for f in row.get("special", ())),
        _map(row["inner"], f"{name}.inner") if row.get("inner") else None,
        bytes.fromhex(row["data"]) if fixed else b"",
    )


def _maps(rows: list[Mapping[str, Any]]) -> list[MapInfo]:
    return [_map(row, row.get("name") or f"map{at}") for at, row in enumerate(rows)]


def _name(table: Mapping[str, int], number: int) -> str:
    return next((name for name, value in table.items() if value == number), "")


def judge(line: Mapping[str, Any], rules: Rules | None = None) -> dict[str, Any]:
    """One program, as in the module's protocol → {"id", "verdict", "reason", "insn", "walked"}.

    The program: `insns` (hex), `prog_type`, `expected_attach_type`, `prog_flags`, `maps`, `relocs`,
    `kernel`. The verdict: "accept", "reject" or "unsupported".
    """
    from pbt.verifier_sim import functions, judge

    answer: dict[str, Any] = {"id": line.get("id"), "verdict": "unsupported", "insn": None, "walked": 0}
    prog_type = _name(PROG_TYPE, line["prog_type"])
    known = None
    if line.get("btf") and line.get("func_info"):
        try:
            known = functions.declared(line["btf"], line["func_info"])
        except functions.BadTypes as error:
            return answer | {"verdict": "reject", "reason": str(error)}
    own = list(_types_of_maps(line["maps"]))
    flags = line.get("prog_flags", 0)
    verdict = judge.verify(
        bytes.fromhex(line["insns"]),
        explain=False,
        prog_type=prog_type,
        expected_attach_type=_attach(line, prog_type),
        maps=_maps(line["maps"]),
        map_of={r["insn"]: (r["map"], r["kind"], r.get("off", 0)) for r in line["relocs"]},
        privileged=not line.get("unprivileged", False),
        capabilities=frozenset(line["capabilities"]) if "capabilities" in line else None,
        strict=flags & (_STRICT | _ANY) == _STRICT,
        sleepable=bool(flags & _SLEEPABLE),
        state_freq=bool(flags & _STATE_FREQ),
        declared=known,
        described=known is not None,
        structs={name: size for types in own for name, size in types.struct_sizes().items()},
        own_types=own,
        target=line.get("attach_func") or "",
        kfuncs={row["insn"]: row["name"] for row in line.get("kfuncs") or ()},
        **_of_release(str(line.get("kernel", "6.18")), rules),
        gpl="GPL" in line.get("license", "GPL"),
    )
    if verdict.unsupported:
        return answer | {"reason": verdict.unsupported}
    if verdict.error is None:
        return answer | {"verdict": "accept", "reason": None, "walked": verdict.insns_processed}
    return answer | {
        "verdict": "reject",
        "reason": verdict.error.reason,
        "insn": verdict.error.pc,
        "walked": verdict.insns_processed,
    }


def _types_of_maps(rows: Sequence[Mapping[str, Any]]) -> Iterator[ProgramTypes]:
    """The types that came with maps whose values have fields of the kernel's."""
    from pbt.verifier_sim import functions

    for row in rows:
        if row.get("btf") and row.get("special"):
            with suppress(functions.BadTypes, KeyError):
                yield functions.types_of(row["btf"])


def _of_release(kernel: str, rules: Rules | None) -> dict[str, Any]:
    """Options of `judge.verify`: what is known of the kernel that a batch names."""
    release = _WRITTEN.get(kernel, kernel)
    missing = _LOCKED if kernel == "6.18" else _UNCONFIGURED
    known: dict[str, Any] = {"features": features(release), "kernel": release, "missing": missing}
    return {**known, **(rules(release) if rules else {})}


def _attach(line: Mapping[str, Any], prog_type: str) -> str:
    number = line.get("expected_attach_type", 0)
    if not number and not prog_type.startswith(("CGROUP_SKB", "TRACING")):
        return ""
    return _name(ATTACH_TYPE, number)


def _answer(line: Any, rules: Rules | None) -> dict[str, Any]:
    """As `judge`; a line with an id gets its answer even if it describes no program."""
    try:
        return judge(line, rules)
    except (LookupError, ValueError, TypeError, AttributeError) as error:
        if not isinstance(line, dict) or "id" not in line:
            raise
        reason = f"the line describes no program: {type(error).__name__}: {error}"
        return {"id": line["id"], "verdict": "unsupported", "reason": reason, "insn": None, "walked": 0}


def main(stdin: IO[str], stdout: IO[str], rules: Rules | None = None) -> int:
    """Judge each line of `stdin`, answer in order, flush after every line; 0.

    `rules`: what more is known of a release, as options of `judge.verify`.
    """
    for text in stdin:
        if text.strip():
            stdout.write(json.dumps(_answer(json.loads(text), rules)) + "\n")
            stdout.flush()
    return 0
