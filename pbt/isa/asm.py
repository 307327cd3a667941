"""Text → instructions, in the kernel verifier's spelling, with labels and comments.

One instruction a line; `label:` stands alone or before one; `;`, `#` and `//` start comments.
Leading `12:` and `(bf)`, as verifier logs print them, are skipped. `.map NAME TYPE KEY VALUE ENTRIES` says that
there is such a map (sizes in bytes), which `map[NAME]` and `value[NAME + OFFSET]` then load by its position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from pbt.data import NamedTuple
from pbt.isa import opcodes as op
from pbt.isa.insn import EXIT, Insn, signed, wide
from pbt.source import ScriptError, Source, Span, did_you_mean

_SIZES = {"u8": op.B, "u16": op.H, "u32": op.W, "u64": op.DW}
_SIGNED = {"s8": op.B, "s16": op.H, "s32": op.W}
_N = r"(-?(?:0x[0-9a-fA-F]+|\d+))"
_R = r"([rw])(10|\d)"
_TARGET = r"(?:pc)?([+-]\d+)|([A-Za-z_]\w*)"
_MEM = r"\((u8|u16|u32|u64|s8|s16|s32) \*\)\s*\(r(10|\d)\s*([+-])\s*(0x[0-9a-fA-F]+|\d+)\)"
_ALU = {row.text: row for row in op.ALU_OPS if row.name not in ("NEG", "MOV", "END") and "(" not in row.text}
_OPS = "|".join(sorted(map(re.escape, _ALU), key=len, reverse=True))
_CONDITIONS = "|".join(sorted(map(re.escape, op.CONDITIONAL), key=len, reverse=True))


Helpers = Mapping[str, int]


class DeclaredMap(NamedTuple):
    """A map that a text says there is; sizes in bytes."""

    name: str
    map_type: str
    key_size: int
    value_size: int
    max_entries: int
    span: Span


class Assembly(NamedTuple):
    """What a text says: instructions, for each slot where it stands in the text, and maps."""

    insns: list[Insn]
    spans: list[Span]
    maps: list[DeclaredMap]


def assemble(text: str, helpers: Helpers | None = None, name: str = "asm") -> list[Insn]:
    """Instructions of a program in text; ScriptError points at the line that is wrong."""
    return read(text, helpers, name).insns


def read(text: str, helpers: Helpers | None = None, name: str = "asm") -> Assembly:
    """The same, with places and maps."""
    source, pending = Source(name, text), []
    labels: dict[str, int] = {}
    at = 0
    insns: list[Insn] = []
    spans: list[Span] = []
    maps: list[DeclaredMap] = []
    for line in text.split("\n"):
        body = re.split(r";|#(?!\d)|//", line, maxsplit=1)[0]
        span = Span(source, at + len(body) - len(body.lstrip()), at + max(len(body.rstrip()), 1))
        at += len(line) + 1
        body = re.sub(r"^\s*\d+:\s*(\([0-9a-f]{2}\)\s*)?", "", body).strip()
        label = re.match(r"([A-Za-z_]\w*):\s*", body)
        if label:
            if label[1] in labels:
                raise ScriptError(f"label {label[1]} is defined twice", span)
            labels[label[1]] = len(insns)
            body = body[label.end() :]
        if body.startswith(".map"):
            maps.append(_declared(body, span, maps))
        elif body:
            pending.append((len(insns), body, span))
            insns.extend(_slots(body, span))
            spans.extend([span] * (len(insns) - len(spans)))
    for index, body, span in pending:
        made = _parse(_numbered(body, span, maps), span, helpers or {}, labels, index)
        insns[index : index + len(made)] = made
    return Assembly(insns, spans, maps)


def _declared(body: str, span: Span, known: list[DeclaredMap]) -> DeclaredMap:
    match = re.fullmatch(r"\.map\s+([@\w]+)\s+(\w+)\s+(\d+)\s+(\d+)\s+(\d+)", body)
    if match is None:
        example = "for example: .map counts HASH 4 8 100"
        raise ScriptError("a map is declared by .map NAME TYPE KEY VALUE ENTRIES", span, example)
    if any(map_.name == match[1] for map_ in known):
        raise ScriptError(f"map {match[1]} is declared twice", span)
    sizes = (int(match[3]), int(match[4]), int(match[5]))
    return DeclaredMap(match[1], match[2].upper().removeprefix("BPF_MAP_TYPE_"), *sizes, span)


def _numbered(body: str, span: Span, maps: list[DeclaredMap]) -> str:
    """An instruction with the position of the map whose name it says."""

    def number(match: re.Match[str]) -> str:
        at = next((at for at, map_ in enumerate(maps) if map_.name == match[2]), None)
        if at is None:
            raise ScriptError(
                f"no map {match[2]} is declared", span, f".map {match[2]} HASH 4 8 100 declares one"
            )
        return f"= {'map_fd' if match[1] == 'map' else 'map_value'}[{at}][{match[3] or 0}]"

    return re.sub(r"= (map|value)\[([@\w]+)(?: \+ (\d+))?\]$", number, body)


def _slots(body: str, span: Span) -> list[Insn]:
    """Room for an instruction whose labels are not known yet."""
    return [Insn(0)] * (
        2 if re.search(r"\bll$|=\s*(map_fd|map_value|btf_id|func|map_idx|map\[|value\[)", body) else 1
    )


Rule = Callable[["re.Match[str]", "_Line"], "list[Insn]"]


# What a line that is no instruction looks like, and how it is written here.
_NEARLY = (
    (r".*\b[rw](1[1-9]|[2-9]\d)\b", "there are r0 to r10, and w0 to w10 for their lower halves"),
    (r"if \S+ = ", "comparison is =="),
    (r"if (?!.*\bgoto\b)", "if r0 == 0 goto label"),
    (r".*\*\s*\([us](8|16|32|64)\)", "memory is written with a star in its type, too: *(u64 *)(r1 +8)"),
    (r".*\*\)\s*\(?r\d+\)?(\s*=|$)", "an address has an offset, be it 0: *(u64 *)(r1 +0)"),
    (r"\*\(.*=\s*\*\(", "a register stands between: r0 = *(u64 *)(r1 +0), then *(u64 *)(r2 +0) = r0"),
    (r"\*\(.*= w\d+$", "the type says how many bytes are stored: *(u32 *)(r10 -4) = r1"),
    (r"[rw]\d+ = [rw]\d+ \S+ \S+$", "one step a line: r1 = r2, then r1 += r3"),
    (r"ret(urn)?\b", "a program returns r0: r0 = 0, then exit"),
    ("", "for example: r1 = 5, r0 += r1, *(u64 *)(r10 -8) = r1, exit"),
)


class _Line:
    """What a rule needs to know beside its match."""

    def __init__(self, span: Span, helpers: Helpers, labels: Mapping[str, int], index: int) -> None:
        self.span, self.helpers, self.labels, self.index = span, helpers, labels, index

    def target(self, relative: str | None, label: str | None, bits: int = 16) -> int:
        """How many slots on a jump goes; the instruction has `bits` bits for that."""
        if relative is None and label not in self.labels:
            raise self.error(f"label {label} is not defined", did_you_mean(str(label), self.labels))
        distance = int(relative) if relative is not None else self.labels[str(label)] - self.index - 1
        return self.fits(distance, bits, "a jump of")

    def fits(self, value: int, bits: int, what: str) -> int:
        if not -(1 << bits - 1) <= value < 1 << bits - 1:
            raise self.error(f"{what} {value} does not fit {bits} bits")
        return value

    def error(self, message: str, hint: str = "") -> ScriptError:
        return ScriptError(message, self.span, hint)


def _parse(body: str, span: Span, helpers: Helpers, labels: Mapping[str, int], index: int) -> list[Insn]:
    line = _Line(span, helpers, labels, index)
    for pattern, rule in _RULES:
        match = pattern.fullmatch(body)
        if match:
            return rule(match, line)
    hint = next(hint for pattern, hint in _NEARLY if re.match(pattern, body))
    raise ScriptError(f"not an instruction: {body}", span, hint)


def _number(text: str) -> int:
    return int(text, 0)


def _imm(text: str, line: _Line) -> int:
    value = _number(text)
    if not -(1 << 31) <= value < 1 << 32:
        raise line.error(f"{text} does not fit 32 bits", "write `r1 = NUMBER ll` for a 64-bit load")
    return signed(value, 32)


def _offset(sign: str, text: str, line: _Line) -> int:
    return line.fits(_number(text) * (-1 if sign == "-" else 1), 16, "offset")


def _same_width(kinds: str, line: _Line) -> bool:
    if kinds[0] != kinds[-1]:
        raise line.error("r and w registers do not mix in one instruction")
    return kinds[0] == "r"


def _alu_class(wide_: bool) -> int:
    return op.ALU64 if wide_ else op.ALU


def _rule_alu_reg(m: re.Match[str], line: _Line) -> list[Insn]:
    row, wide_ = _ALU[m[3]], _same_width(m[1] + m[4], line)
    return [Insn(_alu_class(wide_) | op.X | row.code, int(m[2]), int(m[5]), row.offset)]


def _rule_alu_imm(m: re.Match[str], line: _Line) -> list[Insn]:
    row = _ALU[m[3]]
    return [Insn(_alu_class(m[1] == "r") | row.code, int(m[2]), 0, row.offset, _imm(m[4], line))]


def _rule_mov_reg(m: re.Match[str], line: _Line) -> list[Insn]:
    bits, wide_ = int(m[3]) if m[3] else 0, _same_width(m[1] + m[4], line)
    if bits == 32 and not wide_:
        raise line.error("a w register has no sign to extend from 32 bits", "write r1 = (s32)r2, or w1 = w2")
    return [Insn(_alu_class(wide_) | op.X | op.MOV, int(m[2]), int(m[5]), bits)]


def _rule_cast(m: re.Match[str], line: _Line) -> list[Insn]:
    """To and from an address space of an arena's pointers (BPF_ADDR_SPACE_CAST)."""
    return [Insn(op.ALU64 | op.X | op.MOV, int(m[1]), int(m[2]), 1, int(m[3]) << 16 | int(m[4]))]


def _rule_mov_imm(m: re.Match[str], line: _Line) -> list[Insn]:
    return [Insn(_alu_class(m[1] == "r") | op.MOV, int(m[2]), 0, 0, _imm(m[3], line))]


def _rule_neg(m: re.Match[str], line: _Line) -> list[Insn]:
    if m[1] + m[2] != m[3] + m[4]:
        raise line.error("negation works in place: r1 = -r1")
    return [Insn(_alu_class(m[1] == "r") | op.NEG, int(m[2]))]


def _rule_end(m: re.Match[str], line: _Line) -> list[Insn]:
    if m[1] != m[4]:
        raise line.error("byte swaps work in place: r1 = be16 r1")
    opcode = {"bswap": op.ALU64 | op.END, "le": op.ALU | op.END, "be": op.ALU | op.END | op.TO_BE}[m[2]]
    return [Insn(opcode, int(m[1]), 0, 0, int(m[3]))]


def _rule_wide(m: re.Match[str], line: _Line) -> list[Insn]:
    value = _number(m[2])
    if not -(1 << 63) <= value < 1 << 64:
        raise line.error(f"{m[2]} does not fit 64 bits")
    return list(wide(int(m[1]), value))


def _rule_pseudo(m: re.Match[str], line: _Line) -> list[Insn]:
    if m[2] not in op.PSEUDO:
        raise line.error(f"unknown kind of wide load: {m[2]}", ", ".join(filter(None, op.PSEUDO)))
    low, high = wide(int(m[1]), 0, m[2])
    return [low._replace(imm=_imm(m[3], line)), high._replace(imm=_imm(m[4] or "0", line))]


def _rule_load(m: re.Match[str], line: _Line) -> list[Insn]:
    size, mode = (_SIGNED[m[2]], op.MEMSX) if m[2] in _SIGNED else (_SIZES[m[2]], op.MEM)
    return [Insn(op.LDX | mode | size, int(m[1]), int(m[3]), _offset(m[4], m[5], line))]


def _rule_store(m: re.Match[str], line: _Line) -> list[Insn]:
    return [Insn(op.STX | op.MEM | _SIZES[m[1]], int(m[2]), int(m[5]), _offset(m[3], m[4], line))]


def _rule_store_imm(m: re.Match[str], line: _Line) -> list[Insn]:
    return [Insn(op.ST | op.MEM | _SIZES[m[1]], int(m[2]), 0, _offset(m[3], m[4], line), _imm(m[5], line))]


def _rule_packet(m: re.Match[str], line: _Line) -> list[Insn]:
    if m[2] is not None:
        offset = line.fits(int(m[3] + m[4]), 32, "offset")
        return [Insn(op.LD | op.IND | _SIZES[m[1]], 0, int(m[2]), 0, offset)]
    return [Insn(op.LD | op.ABS | _SIZES[m[1]], 0, 0, 0, _imm(m[5], line))]


def _atomic(m: re.Match[str], line: _Line, imm: int, src: str) -> list[Insn]:
    return [Insn(op.STX | op.ATOMIC | _SIZES[m["size"]], int(m["base"]), int(src),
                 _offset(m["sign"], m["off"], line), imm)]  # fmt: skip


_PLACE = (
    r"\((?P<size>u8|u16|u32|u64) \*\)\s*\(r(?P<base>10|\d)\s*(?P<sign>[+-])\s*(?P<off>0x[0-9a-fA-F]+|\d+)\)"
)


def _rule_lock(m: re.Match[str], line: _Line) -> list[Insn]:
    imm = next(row.imm for row in op.ATOMIC_OPS if row.text == m["op"])
    return _atomic(m, line, imm, m["src"])


def _rule_fetch(m: re.Match[str], line: _Line) -> list[Insn]:
    imm = next(row.imm for row in op.ATOMIC_OPS if row.text == m["op"])
    return _atomic(m, line, imm, m["src"])


def _rule_cmpxchg(m: re.Match[str], line: _Line) -> list[Insn]:
    return _atomic(m, line, op.ATOMIC_BY_NAME["CMPXCHG"].imm, m["src"])


def _rule_load_acquire(m: re.Match[str], line: _Line) -> list[Insn]:
    offset = _offset(m["sign"], m["off"], line)
    return [Insn(op.STX | op.ATOMIC | _SIZES[m["size"]], int(m["dst"]), int(m["base"]), offset, 0x100)]


def _rule_store_release(m: re.Match[str], line: _Line) -> list[Insn]:
    return _atomic(m, line, 0x110, m["src"])


def _rule_goto(m: re.Match[str], line: _Line) -> list[Insn]:
    distance = line.target(m[2], m[3], 32 if m[1] == "gotol" else 16)
    if m[1] == "gotol":
        return [Insn(op.JMP32 | op.JA, 0, 0, 0, distance)]
    return [Insn(op.JMP | (op.JCOND if m[1] == "may_goto" else op.JA), 0, 0, distance)]


def _rule_if_reg(m: re.Match[str], line: _Line) -> list[Insn]:
    cls = op.JMP if _same_width(m[1] + m[4], line) else op.JMP32
    distance = line.target(m[6], m[7])
    return [Insn(cls | op.X | op.CONDITIONAL[m[3]], int(m[2]), int(m[5]), distance)]


def _rule_if_imm(m: re.Match[str], line: _Line) -> list[Insn]:
    cls = op.JMP if m[1] == "r" else op.JMP32
    distance = line.target(m[5], m[6])
    return [Insn(cls | op.CONDITIONAL[m[3]], int(m[2]), 0, distance, _imm(m[4], line))]


def _rule_call(m: re.Match[str], line: _Line) -> list[Insn]:
    for group, kind in (("id", op.CALL_HELPER), ("kfunc", op.CALL_KFUNC), ("pc", op.CALL_LOCAL)):
        if m[group]:
            return [Insn(op.JMP | op.CALL, 0, kind, 0, line.fits(int(m[group]), 32, "a call of"))]
    name = m["name"].removeprefix("bpf_")
    if name in line.helpers:
        return [Insn(op.JMP | op.CALL, 0, op.CALL_HELPER, 0, line.helpers[name])]
    if m["name"] in line.labels:
        return [Insn(op.JMP | op.CALL, 0, op.CALL_LOCAL, 0, line.target(None, m["name"], 32))]
    raise line.error(
        f"unknown helper or label {m['name']}", did_you_mean(name, (*line.labels, *line.helpers))
    )


def _rule_raw(m: re.Match[str], line: _Line) -> list[Insn]:
    made = Insn(int(m[1], 0), int(m[2]), int(m[3]), int(m[4]), int(m[5]))
    if made.opcode >> 8 or made.dst_reg >> 4 or made.src_reg >> 4:
        raise line.error("an opcode has 8 bits, a register number 4")
    line.fits(made.offset, 16, "offset")
    line.fits(made.imm, 32, "imm")
    return [made]


def _rule(pattern: str, rule: Rule) -> tuple[re.Pattern[str], Rule]:
    """Blanks in the pattern match any run of blanks."""
    return re.compile(pattern.replace(" ", r"\s*")), rule


_RULES: tuple[tuple[re.Pattern[str], Rule], ...] = (
    _rule(r"exit", lambda m, line: [EXIT]),
    _rule(r"r(10|\d) = (0x[0-9a-fA-F]+|-?\d+) ll", _rule_wide),
    _rule(r"r(10|\d) = ([a-z_]+)\[(-?\d+)\](?:\[(-?\d+)\])?", _rule_pseudo),
    _rule(rf"{_R} ({_OPS}) {_R}", _rule_alu_reg),
    _rule(rf"{_R} ({_OPS}) {_N}", _rule_alu_imm),
    _rule(rf"{_R} = (?:\(s(8|16|32)\) )?{_R}", _rule_mov_reg),
    _rule(rf"{_R} = {_N}", _rule_mov_imm),
    _rule(r"r(10|\d) = addr_space_cast\( r(10|\d) , ([01]) , ([01]) \)", _rule_cast),
    _rule(rf"{_R} = -{_R}", _rule_neg),
    _rule(r"r(10|\d) = (be|le|bswap)(16|32|64) r(10|\d)", _rule_end),
    _rule(rf"r(10|\d) = \*{_MEM}", _rule_load),
    _rule(rf"\*{_MEM} = r(10|\d)", _rule_store),
    _rule(rf"\*{_MEM} = {_N}", _rule_store_imm),
    _rule(rf"r0 = \*\((u8|u16|u32) \*\) skb\[ (?:r(10|\d) ([+-]) (\d+)|{_N}) \]", _rule_packet),
    _rule(rf"lock \*{_PLACE} (?P<op>[+|&^]=) [rw](?P<src>10|\d)", _rule_lock),
    _rule(
        rf"[rw](10|\d) = (?P<op>atomic_fetch_\w+|atomic_xchg)\( {_PLACE} , [rw](?P<src>10|\d) \)", _rule_fetch
    ),
    _rule(rf"[rw]0 = atomic_cmpxchg\( {_PLACE} , [rw]0 , [rw](?P<src>10|\d) \)", _rule_cmpxchg),
    _rule(rf"[rw](?P<dst>10|\d) = load_acquire\( {_PLACE} \)", _rule_load_acquire),
    _rule(rf"store_release\( {_PLACE} , [rw](?P<src>10|\d) \)", _rule_store_release),
    _rule(rf"(gotol|goto|may_goto) (?:{_TARGET})", _rule_goto),
    _rule(rf"if {_R} ({_CONDITIONS}) {_R} goto (?:{_TARGET})", _rule_if_reg),
    _rule(rf"if {_R} ({_CONDITIONS}) {_N} goto (?:{_TARGET})", _rule_if_imm),
    _rule(
        r"call (?:(?:bpf_\w+#)?(?P<id>\d+)|kfunc#(?P<kfunc>-?\d+)|pc(?P<pc>[+-]\d+)|(?P<name>[A-Za-z_]\w*))",
        _rule_call,
    ),
    _rule(r"callx r(10|\d)", lambda m, line: [Insn(op.JMP | op.CALL | op.X, int(m[1]))]),
    _rule(r"\.insn (0x[0-9a-f]+|\d+)\s+(\d+)\s+(\d+)\s+(-?\d+)\s+(-?\d+)", _rule_raw),
)
