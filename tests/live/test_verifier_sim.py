"""The simulator and the running kernel judge the same programs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from pbt.bundle import Bundle
from pbt.cli.kernel import judging, kernel_types
from pbt.host import verifier
from pbt.host.target import Target
from pbt.isa.insn import Insn, encode
from pbt.objects import link
from pbt.source import KernelError
from pbt.sys import bpf
from pbt.sys.syscall import Fd
from pbt.uapi.kfuncs import KFUNCS
from pbt.verifier_sim import MapInfo, Verdict, verify
from pbt.verifier_sim.calibrate import calibrated, programs
from pbt.verifier_sim.kernelptr import STEADY
from pbt.verifier_sim.kernels import features
from tests.lab import loading
from tests.lab.judging import random_program
from tests.property import helpers, mutants, typed
from tests.property.test_sound import program
from tests.unit.objects.made import MIXED, clang
from tests.unit.verifier_sim.programs import CASES, MAPS, Case, build
from tests.unit.verifier_sim.test_kfuncs import build as kernel_function_program
from tests.unit.verifier_sim.test_kfuncs import cases as kernel_function_cases

pytestmark = pytest.mark.live
RELEASE = os.uname().release


@pytest.fixture(scope="module")
def maps() -> Iterator[list[int]]:
    with ExitStack() as stack:
        fds = [
            stack.enter_context(bpf.map_create(m.map_type, m.key_size, m.value_size, m.max_entries))
            for m in MAPS
        ]
        yield [fd.fileno() for fd in fds]


def _kernel(
    prog_type: str,
    insns: list[Insn],
    references: Mapping[int, tuple[int, str, int]],
    maps: list[int],
    attach: str = "",
) -> str:
    """ "" if the kernel loads it, else its log."""
    slots = list(insns)
    for at, (index, _, _) in references.items():
        slots[at] = slots[at]._replace(imm=maps[index])
    try:
        bpf.prog_load(prog_type, encode(slots), expected_attach_type=attach).close()
    except KernelError as error:
        if error.errno == 1 and not error.log:
            pytest.skip(f"the kernel does not let us load {prog_type}")
        return error.log or str(error)
    return ""


def _simulated(prog_type: str, insns: list[Insn], references: Mapping[int, tuple[int, str, int]]) -> Verdict:
    return verify(insns, prog_type=prog_type, maps=MAPS, map_of=references, kernel=RELEASE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_same_verdict(case: Case, maps: list[int]) -> None:
    insns, references = build(case.text)
    log = _kernel(case.prog_type, insns, references, maps)
    verdict = _simulated(case.prog_type, insns, references)
    assert bool(log) == bool(case.reason), log
    assert verdict.ok == (not log), log
    if verdict.error is not None:
        assert case.reason in log
        assert verdict.error.reason in log, (verdict.error.reason, log)


def test_random_numbers(maps: list[int]) -> None:
    """Numbers, stack and jumps: never accepted where the kernel refuses, and seldom the other way."""
    total, wrong, severe = 100, 0, []
    for seed in range(total):
        rng = random.Random(seed)
        insns = program(rng, rng.randrange(1, 40))
        log = _kernel("KPROBE", insns, {}, maps)
        verdict = _simulated("KPROBE", insns, {})
        wrong += verdict.ok != (not log)
        if verdict.ok and log:
            severe.append((seed, log[-300:]))
    assert not severe
    assert wrong <= total // 25, f"{wrong} of {total} judged otherwise"


TRIES = int(os.environ.get("PBT_PROGRAMS") or 0)  # so many of each kind instead of a few,
FIRST = int(os.environ.get("PBT_PROGRAMS_FROM") or 0)  # from this number on
PATIENCE = 150_000  # instructions: what takes longer to walk is another test's


@pytest.mark.parametrize("changed", [False, True], ids=["made", "mutated"])
def test_random_programs(changed: bool) -> None:
    """Programs with maps, helpers, packets, locks, loops, calls; and the same with something changed."""
    total, wrong, severe, accepted = TRIES or 200, [], [], 0
    options, maps = judging(RELEASE, ask=True), dict[str, int]()
    with ExitStack() as stack:
        for seed in range(FIRST, FIRST + total):
            asked = random_program(seed, changed)
            answer = loading.load(asked.line, maps, stack)
            verdict = asked.verdict(patience=PATIENCE, **options)
            accepted += answer["ok"]
            if verdict.unsupported:
                assert answer["walked"] > PATIENCE // 2, (seed, verdict.unsupported)
            elif verdict.ok and not answer["ok"]:
                severe.append((seed, answer["log"][-300:]))
            elif not verdict.ok and answer["ok"]:
                wrong.append((seed, verdict.story()))
    assert not severe
    assert len(wrong) <= total // 200, wrong
    assert total // 4 < accepted < total


def test_changed_programs_of_scripts() -> None:
    """What pbt compiled, with an instruction changed, dropped, doubled or moved (see tests/property/mutants.py)."""
    seeds = mutants.seeds(Target.live(), ("bench/scripts",))
    options = judging(RELEASE, ask=True) | {"types": kernel_types(RELEASE)}
    severe, wrong, accepted, total = [], [], 0, TRIES or 300
    with ExitStack() as stack:
        maps = _Maps(stack)
        for number in range(FIRST, FIRST + total):
            made = mutants.mutant(seeds, number)
            slots = list(made.insns)
            for at, (index, _, _) in made.references.items():
                slots[at] = slots[at]._replace(imm=maps.of(made.seed.bundle)[index])
            log = _loaded(made, slots)
            verdict = verify(
                made.insns,
                prog_type=made.seed.prog_type,
                expected_attach_type=made.seed.attach,
                maps=made.seed.maps,
                map_of=made.references,
                declared=made.declared,
                **options,
            )
            accepted += not log
            if verdict.ok and log:
                severe.append((number, made.how, log[-300:]))
            elif not verdict.ok and not log:
                wrong.append((number, made.how, verdict.story()))
    assert not severe
    assert len(wrong) <= max(1, total // 200), wrong
    assert total // 6 < accepted < total * 5 // 6


class _Maps:
    """The maps of bundles, made when first asked for."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack, self.known = stack, dict[str, list[int]]()

    def of(self, bundle: Bundle) -> list[int]:
        if bundle.name not in self.known:
            made = [self.stack.enter_context(bpf.map_create(*mutants.created(m, 64))) for m in bundle.maps]
            self.known[bundle.name] = [fd.fileno() for fd in made]
        return self.known[bundle.name]


def _loaded(made: mutants.Mutant, slots: list[Insn]) -> str:
    """ "" if the kernel loads a mutant, else its log."""
    types, functions = made.described
    with ExitStack() as stack:
        described = stack.enter_context(bpf.btf_load(types)).fileno() if types else 0
        try:
            bpf.prog_load(
                made.seed.prog_type,
                encode(slots),
                expected_attach_type=made.seed.attach,
                prog_btf_fd=described,
                func_info=functions,
            ).close()
        except KernelError as error:
            return error.log or str(error)
    return ""


def test_programs_of_objects(tmp_path: Path) -> None:
    """What clang made is to the kernel what its name says, as it is to the simulator (see tests/unit/objects)."""
    found = link.read("program.o", clang(tmp_path, MIXED))
    untyped = ("lock_good", "lock_bad", "called_good")  # the kernel wants types for these
    with ExitStack() as stack:
        maps = [stack.enter_context(_made(info)).fileno() for info in found.maps]
        for program in found.programs:
            slots = list(program.insns)
            for at, (index, _, offset) in program.map_of.items():
                slots[at] = slots[at]._replace(imm=maps[index])
                slots[at + 1] = slots[at + 1]._replace(imm=offset)
            if program.name not in untyped:
                kind, attach, _ = program.sort
                log = _kernel(kind, slots, {}, [], attach)
                assert bool(log) == program.name.endswith("_bad"), (program.name, log)


def _made(info: MapInfo) -> Fd:
    with ExitStack() as stack:
        inner = stack.enter_context(_made(info.inner)).fileno() if info.inner else 0
        made = bpf.map_create(
            info.map_type, info.key_size, info.value_size, info.max_entries, info.flags, inner_map_fd=inner
        )
    if info.data:
        bpf.map_update(made.fileno(), bytes(4), info.data)
        bpf.map_freeze(made.fileno())
    return made


def test_calibration_finds_what_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running kernel's answers agree with the table for its release, on the kernel it was measured on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    accepted = verifier.accepted(programs)
    assert accepted is not None and len(accepted) == len(programs())
    known = calibrated(features(RELEASE), accepted)
    assert "signed_isa" in known or RELEASE.startswith("5.")
    if RELEASE.startswith("6.18.44"):
        assert known == features(RELEASE)


def test_random_programs_with_types() -> None:
    """Tracepoints and iterators: pointers of the kernel's own types, what is read through them, helpers."""
    btf, types = Target.live().types, kernel_types(RELEASE)
    if btf is None or types is None:
        pytest.skip("this kernel has no BTF")
    options = judging(RELEASE) | {"types": types}
    total, wrong, severe, accepted = 300, [], [], 0
    for seed in range(total):
        made = typed.program(seed, btf, types)
        if made is None:
            continue
        try:
            bpf.prog_load(
                "TRACING", encode(made.insns), expected_attach_type=made.attach, attach_btf_id=made.btf_id
            ).close()
            log = ""
        except KernelError as error:
            if error.errno == 1 and not error.log:
                continue  # a policy of the machine
            log = error.log or str(error)
        verdict = verify(
            made.insns,
            prog_type="TRACING",
            expected_attach_type=made.attach,
            target=made.name,
            **options,  # type: ignore[arg-type]
        )
        accepted += not log
        if verdict.ok != (not log):
            wrong.append((seed, log[-300:], verdict.error))
            if verdict.ok:
                severe.append(seed)
    assert not severe, wrong
    assert len(wrong) <= 1, wrong
    assert accepted > total // 4, "too few programs are accepted to say anything"


def _typed_kernel(
    insns: list[Insn], kfuncs: Mapping[int, str], prog_type: str, attach: str = "", btf_id: int = 0
) -> str:
    """As `_kernel`, for a program that calls kernel functions."""
    btf = Target.live().types
    assert btf is not None
    slots = [
        insn._replace(imm=btf.find("func", kfuncs[at]) or 0) if at in kfuncs else insn
        for at, insn in enumerate(insns)
    ]
    try:
        flags = 16 * (prog_type == "SYSCALL")  # BPF_F_SLEEPABLE
        bpf.prog_load(
            prog_type, encode(slots), expected_attach_type=attach, attach_btf_id=btf_id, flags=flags
        ).close()
    except KernelError as error:
        return error.log or str(error)
    return ""


@pytest.mark.parametrize("name", ["kfuncs.txt", "kfuncs_typed.txt"])
def test_kernel_functions(name: str) -> None:
    """Programs of our own that call them: the kernel's verdict, and where it is known its own words."""
    btf, types = Target.live().types, kernel_types(RELEASE)
    if btf is None or types is None:
        pytest.skip("this kernel has no BTF")
    options = judging(RELEASE) | {"types": types}
    wrong = []
    for case in kernel_function_cases(name):
        if not all(btf.find("func", name) for name in case.kfuncs.values()):
            continue
        attach = "TRACE_RAW_TP" if case.target else ""
        target = btf.find("typedef", f"btf_trace_{case.target}") or 0
        log = _typed_kernel(case.insns, case.kfuncs, case.prog_type, attach, target)
        verdict = case.judge(**options)
        if verdict.ok != (not log) or verdict.unsupported or verdict.ok != (not case.reason):
            wrong.append((case.text, log[-200:], verdict.error or verdict.unsupported))
    assert not wrong


def test_programs_that_may_call_kernel_functions() -> None:
    btf = Target.live().types
    if btf is None:
        pytest.skip("this kernel has no BTF")
    wrong = []
    for row in KFUNCS.values():
        if not btf.find("func", row.name):
            continue
        insns, kfuncs = kernel_function_program(f"kcall {row.name}; r0 = 0; exit")
        for kind in ("TRACEPOINT", "KPROBE", "XDP", "SCHED_CLS", "SOCKET_FILTER", "CGROUP_SKB", "LWT_IN"):
            refused = "is not allowed" in _typed_kernel(insns, kfuncs, kind)
            if refused != ("session" in row.flags or (row.types is not None and kind not in row.types)):
                wrong.append((row.name, kind))
    assert not wrong


def test_pointers_that_stay_where_they_are() -> None:
    types = kernel_types(RELEASE)
    if types is None or not types.exact:
        pytest.skip("this kernel has no BTF")
    for (struct, at), member in STEADY.items():
        found = types.walk(struct, at, 8)
        assert (found.pointer, found.struct, found.name) == (True, member.struct, member.name), (struct, at)
        assert found.loose == member.loose, (struct, at)


def test_random_calls_of_helpers() -> None:
    """Every helper, in every type of program that loads here, with arguments that mostly fit."""
    options = judging(RELEASE) | {"types": kernel_types(RELEASE)}
    total, wrong, severe, accepted = 300, [], [], 0
    with ExitStack() as stack:
        maps = [
            stack.enter_context(
                bpf.map_create(m.map_type, m.key_size, m.value_size, m.max_entries, m.flags)
            ).fileno()
            for m in helpers.MAPS
        ]
        for seed in range(total):
            made = helpers.program(seed)
            slots = list(made.insns)
            for at, (index, _, _) in made.map_of.items():
                slots[at] = slots[at]._replace(imm=maps[index])
            attach, sleeps = helpers.TYPES[made.prog_type], made.prog_type == "SYSCALL"
            log = ""
            try:
                bpf.prog_load(
                    made.prog_type, encode(slots), expected_attach_type=attach, flags=16 * sleeps
                ).close()
            except KernelError as error:
                log = error.log
                if not log.replace("processed", "", 1).strip(" 0123456789abcdefghijklmnopqrstuvwxyz_()\n"):
                    continue  # refused for something else than its instructions
            verdict = verify(
                made.insns,
                prog_type=made.prog_type,
                expected_attach_type=attach,
                maps=helpers.MAPS,
                map_of=made.map_of,
                sleepable=sleeps,
                **options,  # type: ignore[arg-type]
            )
            accepted += not log
            if verdict.ok != (not log) or verdict.unsupported:
                wrong.append((seed, made.prog_type, log[-200:], verdict.error or verdict.unsupported))
                if verdict.ok and not verdict.unsupported:
                    severe.append(seed)
    assert not severe, wrong
    assert len(wrong) <= total // 100, wrong
    assert accepted > total // 5, "too few programs are accepted to say anything"
