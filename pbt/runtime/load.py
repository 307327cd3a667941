"""Bundle → Loaded: maps made, relocations filled in, programs in the kernel."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from errno import E2BIG

from pbt.bundle import Bundle, Code, Map, Place, Program, Reloc
from pbt.source import KernelError, Source, Span, UsageError, show
from pbt.sys import bpf
from pbt.typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    from pbt.host.target import Target
    from pbt.sys.bpf import Fd

_WIDE = 0x18  # opcode of the 64-bit immediate load (RFC 9669 section 5.4), the only one that relocates
_PSEUDO = {"map_fd": 1, "map_value": 2, "btf_id": 3, "func": 4}  # its src_reg: BPF_PSEUDO_* of <linux/bpf.h>
_PAGE = 4096
_SMALL_KEY = 512  # bytes: MAX_BPF_STACK, the limit before Linux 5.11


class LoadError(KernelError):
    """The kernel refused a program: its own reason, and the place in the script that it is about."""

    def __init__(self, error: KernelError, program: Program, reason: str, span: Span | None) -> None:
        super().__init__(error.what, error.errno, error.hint, error.log)
        self.program, self.reason, self.span = program, reason, span

    def __str__(self) -> str:
        message = f"the kernel refused the program of {self.program.name} ({self.name}): {self.reason}"
        if not self.reason:  # it was not the verifier's to give
            message = f"{self.what}: {self.name} ({os.strerror(self.errno)})"
        if self.span is None:
            return f"ERROR: {message}" + (f"\nHINT: {self.hint}" if self.hint else "")
        return show("ERROR", message, self.span, self.hint)


class Refused:
    """Stands for a program that belongs to a function of the kernel which cannot be traced: it has no descriptor."""

    def __init__(self, error: KernelError) -> None:
        self._error = error

    def fileno(self) -> int:
        raise self._error


class Loaded:
    """Maps by name and programs in the bundle's order; owns every descriptor."""

    def __init__(
        self, bundle: Bundle, maps: Mapping[str, Fd], programs: Sequence[Fd | Refused], owned: ExitStack
    ) -> None:
        self.bundle, self.maps, self.programs, self._owned = bundle, maps, programs, owned

    def map(self, name: str) -> int:
        """The file descriptor of a map."""
        return self.maps[name].fileno()

    def close(self) -> None:
        """Let go of all maps and programs; safe to repeat."""
        self._owned.close()

    def __enter__(self) -> Loaded:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def load(bundle: Bundle, target: Target, log: Callable[[str, str], None] | None = None) -> Loaded:
    """Make the maps and load the programs; programs that are the same are loaded once and shared.

    `log` is handed the name and the verifier's log of each program. Raises LoadError or KernelError;
    nothing stays behind then. Unless missing probes are errors, programs of functions that the kernel does not
    let be traced, which it says already here, are `Refused`, for `attach` to go on without them.
    """
    if bundle.arch != target.arch.name:
        raise UsageError(f"{bundle.name} was compiled for {bundle.arch}, this machine is {target.arch.name}")
    with ExitStack() as owned:
        maps: dict[str, Fd] = {}
        for map_ in bundle.maps:
            maps[map_.name] = fd = _create(map_, bundle)
            owned.callback(fd.close)
            if map_.data:
                bpf.map_update(fd.fileno(), bytes(map_.key_size), map_.data)
        keys = _keys(bundle.programs)
        shared = dict(reversed(list(zip(keys, bundle.programs, strict=True))))
        with ExitStack() as until_loaded:
            types, functions = _types(list(shared.values()), until_loaded)
            fds: dict[object, Fd | Refused] = {}
            tolerant = bundle.config.get("missing_probes", "error") != "error"
            for (key, program), info in zip(shared.items(), functions, strict=True):
                try:
                    fds[key] = fd = _load(program, bundle, maps, target, (types, info), log)
                except LoadError as error:
                    if error.reason or not program.attach_btf or not tolerant:
                        raise
                    fds[key] = Refused(error)
                else:
                    owned.callback(fd.close)
        return Loaded(bundle, maps, [fds[key] for key in keys], owned.pop_all())


def _keys(programs: Sequence[Program]) -> list[object]:
    """For each program what it has to agree in with others to be loaded once for all of them.

    Those of one place stay apart: the kernel takes a program there only once.
    """
    seen: dict[object, int] = {}
    keys: list[object] = []
    for program in programs:
        what = program.code, program.prog_type, program.expected_attach_type, program.attach_btf
        before = seen.get((program.name, what), 0)
        seen[program.name, what] = before + 1
        keys.append((what, before))
    return keys


def _types(programs: Sequence[Program], until_loaded: ExitStack) -> tuple[int, list[bytes]]:
    """Descriptor of BTF that describes all programs, and each one's func_info.

    (0, empty ones) where the kernel takes no BTF; KernelError if callbacks need it.
    """
    from pbt.runtime.funcinfo import describe

    types, functions = describe([(program.name, program.code.functions) for program in programs])
    try:
        fd = bpf.btf_load(types)
    except KernelError:
        if any(reloc.kind == "func" for program in programs for reloc in program.code.relocs):
            raise
        return 0, [b""] * len(programs)
    until_loaded.callback(fd.close)
    return fd.fileno(), functions


def _create(map_: Map, bundle: Bundle) -> Fd:
    entries = map_.max_entries
    if map_.map_type == "RINGBUF":
        entries = ring_size(entries, int(bundle.config.get("perf_rb_pages") or 0))
    elif not entries:  # one for each CPU, however many this machine has
        entries = max(bpf.possible_cpus()) + 1
    name = map_.name.replace("@", "AT_")
    try:
        return bpf.map_create(map_.map_type, map_.key_size, map_.value_size, entries, map_.flags, name)
    except KernelError as error:
        if error.errno != E2BIG or map_.key_size <= _SMALL_KEY:
            raise
        hint = f"keys of this kernel have at most {_SMALL_KEY} bytes: cut strings, as in str(p, 64)"
        raise KernelError(f"the key of {map_.name} takes {map_.key_size} bytes", E2BIG, hint) from error


def ring_size(size: int, pages: int) -> int:
    """Bytes of the ring buffer: `pages` if given, else `size`; a power of two and at least a page."""
    wanted = max(pages * _PAGE or size, _PAGE)
    return 1 << (wanted - 1).bit_length()


def _load(
    program: Program,
    bundle: Bundle,
    maps: Mapping[str, Fd],
    target: Target,
    types: tuple[int, bytes],
    log: Callable[[str, str], None] | None,
) -> Fd:
    """`types`: a descriptor of BTF and the func_info that refers to it."""
    insns = relocate(program.code, {name: fd.fileno() for name, fd in maps.items()}, target)
    with ExitStack() as until_loaded:
        where = attach_btf(program, target, until_loaded)
        return _ask(program, bundle, insns, types, where, log)


def _ask(
    program: Program,
    bundle: Bundle,
    insns: bytes,
    types: tuple[int, bytes],
    where: tuple[int, int],
    log: Callable[[str, str], None] | None,
) -> Fd:
    try:
        return bpf.prog_load(
            program.prog_type,
            insns,
            license=bundle.license,
            name=program.name,
            expected_attach_type=program.expected_attach_type,
            attach_btf_obj_fd=where[0],
            attach_btf_id=where[1],
            log_level=2 if log else 0,
            prog_btf_fd=types[0],
            func_info=types[1],
            log=(lambda text: log(program.name, text)) if log else None,
        )
    except KernelError as error:
        reason, insn = refusal(error.log)
        raise LoadError(error, program, reason, place(bundle, program, insn)) from error


def attach_btf(program: Program, target: Target, until_loaded: ExitStack) -> tuple[int, int]:
    """What a TRACING program is for: a descriptor of its module's BTF (0: the kernel's), and its id there.

    For functions of BPF programs, a descriptor of the program; (0, 0) for programs of other types.
    UsageError if the running kernel has no such thing.
    """
    if program.attach_btf is None:
        return 0, 0
    kind, name = program.attach_btf
    module, _, name = name.rpartition(":")
    if kind == "prog":
        return _program_function(int(module), name, target, until_loaded)
    if not module:
        return 0, btf_id(target, kind, name)
    types = target.module_types(module)
    found = types.find(kind, name) if types else None
    fd = _module_btf(module, until_loaded)
    if found is None or not fd:
        raise UsageError(f"no module {module} with {kind} {name} is loaded")
    return fd, found


def _program_function(id: int, name: str, target: Target, until_loaded: ExitStack) -> tuple[int, int]:
    """A BPF program that is loaded, and the number that its function has in its own BTF."""
    from pbt.sys import objects

    known = next((program for program in target.programs if program.id == id), None)
    if known is None or name not in known.functions:
        raise UsageError(f"no BPF program {id} with a function {name} is loaded", "pbt -l 'fentry:bpf:*'")
    fd = objects.fd_by_id("prog", id)
    until_loaded.callback(fd.close)
    return fd.fileno(), known.functions[name]


def _module_btf(name: str, until_loaded: ExitStack) -> int:
    """A descriptor of the types of a module, 0 if there is none such."""
    from pbt.sys import objects

    for id in objects.ids("btf"):
        with ExitStack() as stack:
            fd = stack.enter_context(objects.btf_get_fd_by_id(id)).fileno()
            if objects.btf_info(fd)[1] == name:
                until_loaded.push(stack.pop_all())
                return fd
    return 0


def btf_id(target: Target, kind: str, name: str) -> int:
    """The kernel's number for a type, function or variable of its BTF; UsageError if it has none."""
    found = target.types.find(kind, name) if target.types else None
    if found is None:
        hint = "" if target.types else "a kernel with CONFIG_DEBUG_INFO_BTF has /sys/kernel/btf/vmlinux"
        raise UsageError(f"this kernel's type information knows no {kind} {name}", hint)
    return found


def relocate(code: Code, maps: Mapping[str, int], target: Target) -> bytes:
    """The instructions with this machine's numbers: map descriptors, value offsets, BTF ids, functions."""
    insns = bytearray(code.insns)
    order: Literal["little", "big"] = "little" if target.arch.byteorder == "little" else "big"
    functions = dict(code.functions)
    for reloc in code.relocs:
        at = 8 * reloc.insn
        if reloc.kind == "kfunc":
            insns[at + 4 : at + 8] = btf_id(target, "func", reloc.name).to_bytes(4, order)
            continue
        assert insns[at] == _WIDE, reloc
        low, high = _immediates(reloc, maps, functions, target)
        dst = insns[at + 1] & 0x0F if order == "little" else insns[at + 1] >> 4
        src = _PSEUDO[reloc.kind]
        insns[at + 1] = dst | src << 4 if order == "little" else src | dst << 4
        insns[at + 4 : at + 8] = (low & 0xFFFFFFFF).to_bytes(4, order)
        insns[at + 12 : at + 16] = (high & 0xFFFFFFFF).to_bytes(4, order)
    return bytes(insns)


def _immediates(
    reloc: Reloc, maps: Mapping[str, int], functions: Mapping[str, int], target: Target
) -> tuple[int, int]:
    """The two halves of the wide load."""
    if reloc.kind == "func":
        return functions[reloc.name] - reloc.insn - 1, 0
    if reloc.kind == "btf_id":
        return btf_id(target, "var", reloc.name), 0
    return maps[reloc.name], reloc.offset


_INSN = r"^(\d+): \("
_NOISE = r"^(processed \d+ insns|verification time|stack depth|mark_precise|func#\d+ )|^\s*;|^R\d+(_\w)?="
_STATE = r"^(from )?\d+( to \d+)?:"


def refusal(log: str) -> tuple[str, int | None]:
    """The reason in a verifier's log, and the instruction it is about; ("", None) if there is neither."""
    import re  # not every run is refused

    reason, insn = "", None
    for line in log.splitlines():
        match = re.match(_INSN, line)
        if match:
            insn = int(match[1])
        elif line.strip() and not re.match(_NOISE, line) and not re.match(_STATE, line):
            reason = line.strip()
    return reason, insn


def place(bundle: Bundle, program: Program, insn: int | None) -> Span | None:
    """Where in the script an instruction comes from; failing that, the probe; None if unknown."""
    spans = program.code.spans
    found = spans[insn] if insn is not None and insn < len(spans) else Place(-1, -1)
    if found.start < 0:
        found = program.span
    return span(bundle, found)


def span(bundle: Bundle, where: Place) -> Span | None:
    """A place of the bundle's script, for messages."""
    return Span(Source(bundle.name, bundle.source), where.start, where.end) if where.start >= 0 else None
