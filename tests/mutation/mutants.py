"""Which mutants a file has, and which of them are drawn: small faults that a good test should notice.

The faults are those of cosmic-ray, one or two for each place: a + becomes −, not also eleven other signs that no test
can miss. Text for readers is left alone: annotations, docstrings, messages of errors, `__all__`, aliases of types.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.provider import OperatorProvider

OPERATORS = (
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Div")),
    *(f"ReplaceBinaryOperator_{pair}" for pair in ("Mod_FloorDiv", "Pow_Mul", "BitOr_BitAnd", "BitAnd_BitOr")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt")),  # a boundary
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Lt_GtE", "LtE_Gt", "Gt_LtE", "GtE_Lt")),  # the opposite
    "ReplaceUnaryOperator_Delete_USub",
    "ReplaceUnaryOperator_Delete_Not",
    "ReplaceUnaryOperator_Delete_Invert",
    "ReplaceTrueWithFalse",
    "ReplaceFalseWithTrue",
    "ReplaceAndWithOr",
    "ReplaceOrWithAnd",
    "AddNot",
    "ReplaceBreakWithContinue",
    "ReplaceContinueWithBreak",
    "ExceptionReplacer",
    "NumberReplacer",
    "RemoveDecorator",
    "ZeroIterationForLoop",
)
Position = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """The `occurrence`-th place of `operator` in `file`, on `line`; `was` and `now` are the lines that differ."""

    file: str
    line: int
    operator: str
    occurrence: int
    was: str
    now: str

    def applied(self, source: str) -> str:
        """The source with this fault in it."""
        changed = mutate_code(source, OperatorProvider()[self.operator](), self.occurrence)
        assert changed is not None, f"{self} is of another version of the file"
        return str(changed)


def enumerate_mutants(root: Path, file: str) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines. Those that are no Python or change nothing are left out."""
    source = (root / file).read_text("utf-8")
    quiet = list(_quiet(source))
    tree, found = get_ast(source), []
    original = ast.dump(ast.parse(source))
    for operator in OPERATORS:
        make = OperatorProvider()[operator]()
        places = [(node, place[0]) for node in ast_nodes(tree) for place in make.mutation_positions(node)]
        for occurrence, (node, start) in enumerate(places):
            if node.parent is not None and node.parent.type == "parameters":  # the * before keywords is no product
                continue
            if any(first <= start < last for first, last in quiet):
                continue
            try:
                mutated = str(mutate_code(source, make, occurrence))
                if ast.dump(ast.parse(mutated)) == original:
                    continue
            except (SyntaxError, AttributeError):  # AttributeError: cosmic-ray on `except (A, module.B):`
                continue
            found.append(Mutant(file, start[0], operator, occurrence, *_difference(source, mutated)))
    return sorted(found, key=lambda mutant: (mutant.line, mutant.operator, mutant.occurrence))


def sample(mutants: Sequence[Mutant], size: int, seed: int) -> list[Mutant]:
    """`size` mutants, one at random from each of as many stretches of the list: each file gets its share."""
    if size >= len(mutants):
        return list(mutants)
    draw = random.Random(seed)
    edges = [len(mutants) * i // size for i in range(size + 1)]
    return [mutants[draw.randrange(first, last)] for first, last in pairwise(edges)]


def _difference(source: str, mutated: str) -> tuple[str, str]:
    """The lines that differ, without their indentation."""
    old, new = source.splitlines(), mutated.splitlines()
    head = next(i for i, (a, b) in enumerate(zip([*old, ""], [*new, ""], strict=False)) if a != b)
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return tuple(" ".join(line.strip() for line in lines[head : len(lines) - tail]).strip() for lines in (old, new))  # type: ignore[return-value]


def _quiet(source: str) -> Iterator[tuple[Position, Position]]:
    """Stretches of the source in which nothing is changed."""
    lines = source.splitlines()

    def position(line: int, column: int) -> Position:  # ast counts bytes, parso characters
        return line, len(lines[line - 1].encode()[:column].decode())

    module = ast.parse(source)
    nodes = [node for parent in ast.walk(module) for node in _left_alone(parent)]
    nodes += [node for node in module.body if isinstance(node, ast.Assign) and _is_label(node)]
    for node in nodes:
        yield position(node.lineno, node.col_offset), position(node.end_lineno, node.end_col_offset)


def _left_alone(node: ast.AST) -> list[Any]:
    """The parts of a node that are for readers or type checkers only."""
    match node:
        case ast.arg(annotation=kind) | ast.AnnAssign(annotation=kind):
            return [kind] if kind else []
        case ast.FunctionDef(returns=kind, decorator_list=above):
            names = [item for item in above if isinstance(item, ast.Name) and item.id in ("overload", "abstractmethod")]
            for item in names:
                item.col_offset -= 1  # its @
            return [*names, *([kind] if kind else [])]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return [node]
        case ast.Raise(exc=ast.Call() as made):
            return [made]
        case ast.Call(func=ast.Attribute(value=ast.Name(id="warnings"))):
            return [node]
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kinds]):
            return [kinds]
    return []


def _is_label(node: ast.Assign) -> bool:
    """Whether this is `__all__`, a version, or an alias such as `Kernel = Callable | None`."""
    dunder = any(isinstance(name, ast.Name) and name.id.startswith("__") for name in node.targets)
    return dunder or (isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr))
