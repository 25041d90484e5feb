"""Small faults made from the syntax of a module: comparisons, signs, constants, arguments, branches, statements."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_COMBINED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
}  # fmt: skip
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "floor": "ceil", "ceil": "floor"}
#: Calls that mean the same with their arguments in another order.
_SYMMETRIC = ("min", "max", "minimum", "maximum", "fmin", "fmax", "hypot", "array_equal", "isdisjoint")
#: Keywords that only say what is checked.
_CHECKS = ("strict", "check_finite")
#: Calls whose arguments are text for people, and what is said of a run: no pixel depends on them.
_TALK = ("say", "log", "metric", "debug", "info", "warning", "joined", "note", "tell", "warn")


@dataclass(frozen=True)
class Mutant:
    """One fault: a piece of a module's text and what stands there instead.

    `begin` and `end` count bytes of the file; `line` counts from 1.
    """

    file: str
    line: int
    begin: int
    end: int
    old: str
    new: str

    def text(self, source: bytes) -> str:
        """The text of the module with the fault."""
        return (source[: self.begin] + self.new.encode() + source[self.end :]).decode()

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}:{self.line}: {old} -> {new}"


def mutants_of(file: str, source: bytes) -> list[Mutant]:
    """Every fault that this module can make of a text, in the order of the text.

    Text for people, messages of exceptions, annotations, decorators, docstrings and imports are left as they are.
    """
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, new in _changes(ast.parse(source)):
        begin = starts[node.lineno - 1] + node.col_offset
        end = starts[node.end_lineno - 1] + node.end_col_offset
        found.append(Mutant(file, node.lineno, begin, end, source[begin:end].decode(), new))
    return sorted(found, key=lambda mutant: (mutant.begin, mutant.end, mutant.new))


def _changes(tree: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    for node in _of_interest(tree):
        for kind, make in _MAKERS:
            if isinstance(node, kind):
                yield from ((node, ast.unparse(new) if isinstance(node, ast.stmt) else f"({ast.unparse(new)})")
                            for new in make(node))  # fmt: skip


def _of_interest(node: ast.AST) -> Iterator[ast.expr | ast.stmt]:
    """Expressions and statements that may matter to a result."""
    if isinstance(node, ast.expr | ast.stmt):
        yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "bases", "slice") and not isinstance(
            node, ast.Subscript
        ):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_talk(child):
                yield from _of_interest(child)


def _is_talk(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.AnnAssign) and node.value is None:
        return True
    if isinstance(node, ast.keyword) and node.arg in _CHECKS:
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return True
    called = node.func if isinstance(node, ast.Call) else None
    name = called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""
    return name.lstrip("_") in _TALK


def _compare(node: ast.Compare) -> Iterator[ast.expr]:
    if len(node.ops) == 1:
        yield ast.Compare(node.left, [_COMPARED[type(node.ops[0])]()], node.comparators)


def _operator(node: ast.BinOp) -> Iterator[ast.expr]:
    other = _COMBINED.get(type(node.op))
    is_text = any(isinstance(side, ast.Constant | ast.JoinedStr) and not _is_number(side)
                  for side in (node.left, node.right))  # fmt: skip
    if other is not None and not is_text:
        yield ast.BinOp(node.left, other(), node.right)


def _sign(node: ast.UnaryOp) -> Iterator[ast.expr]:
    if isinstance(node.op, ast.USub | ast.Not):
        yield node.operand


def _both(node: ast.BoolOp) -> Iterator[ast.expr]:
    yield ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _constant(node: ast.Constant) -> Iterator[ast.expr]:
    if isinstance(node.value, bool):
        yield ast.Constant(not node.value)
    elif _is_number(node):
        assert isinstance(node.value, int | float)
        yield ast.Constant(node.value + 1 if isinstance(node.value, int) else node.value * 2.0 or 1.0)


def _call(node: ast.Call) -> Iterator[ast.expr]:
    plain = [argument for argument in node.args if not isinstance(argument, ast.Starred)]
    name = ast.unparse(node.func).rpartition(".")[2]
    is_ordered = name not in _SYMMETRIC and ast.dump(plain[0]) != ast.dump(plain[1]) if len(plain) > 1 else False
    if is_ordered and len(plain) == len(node.args):
        yield ast.Call(node.func, [plain[1], plain[0], *plain[2:]], node.keywords)
    if isinstance(node.func, ast.Attribute) and node.func.attr in _NAMES:
        yield ast.Call(ast.Attribute(node.func.value, _NAMES[node.func.attr]), node.args, node.keywords)
    elif isinstance(node.func, ast.Name) and node.func.id in _NAMES:
        yield ast.Call(ast.Name(_NAMES[node.func.id]), node.args, node.keywords)


def _branch(node: ast.IfExp) -> Iterator[ast.expr]:
    yield ast.IfExp(node.test, node.orelse, node.body)


def _statement(node: ast.Expr | ast.AugAssign) -> Iterator[ast.stmt]:
    if isinstance(node, ast.AugAssign) or isinstance(node.value, ast.Call):
        yield ast.Pass()


_MAKERS: tuple[tuple[type | tuple[type, ...], Callable[..., Iterator[ast.expr | ast.stmt]]], ...] = (
    (ast.Compare, _compare), (ast.BinOp, _operator), (ast.UnaryOp, _sign), (ast.BoolOp, _both),
    (ast.Constant, _constant), (ast.Call, _call), (ast.IfExp, _branch), ((ast.Expr, ast.AugAssign), _statement),
)  # fmt: skip
