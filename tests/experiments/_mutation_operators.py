"""The small mistakes of `mutants`: those of Cosmic Ray's operators whose mutants run, and four more."""

from __future__ import annotations

import re

from cosmic_ray.operators.operator import Operator
from cosmic_ray.operators.provider import OperatorProvider

__all__ = ["OPERATORS"]

COMPARISONS = {"Eq": ("NotEq",), "NotEq": ("Eq",), "Is": ("IsNot",), "IsNot": ("Is",)} | {
    "Lt": ("LtE", "Gt", "GtE"),
    "LtE": ("Lt", "Gt", "GtE"),
    "Gt": ("Lt", "LtE", "GtE"),
    "GtE": ("Lt", "LtE", "Gt"),
}
ARITHMETIC = {"Add": ("Sub", "Mul"), "Sub": ("Add",), "Mul": ("Div", "Add"), "Div": ("Mul",), "Pow": ("Mul", "Div")}
CHOSEN = (
    *(f"ReplaceComparisonOperator_{a}_{b}" for a, others in COMPARISONS.items() for b in others),
    *(f"ReplaceBinaryOperator_{a}_{b}" for a, others in ARITHMETIC.items() for b in others),
    *("ReplaceBinaryOperator_BitOr_BitAnd", "ReplaceBinaryOperator_BitAnd_BitOr", "ReplaceUnaryOperator_Delete_USub"),
    *("ReplaceUnaryOperator_Delete_Not", "ReplaceUnaryOperator_Delete_Invert", "AddNot", "NumberReplacer"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ReplaceAndWithOr", "ReplaceOrWithAnd"),
    *("ReplaceBreakWithContinue", "ReplaceContinueWithBreak"),
)
"""Those of Cosmic Ray's operators whose mutants run: shifts of floats, say, are errors that any test sees."""

PAIRS = (
    ("min", "max"),
    ("any", "all"),
    ("value", "mcse"),
    ("lower", "upper"),
    ("mean", "sd"),
    ("mcse_mean", "mcse_sd"),
)
PAIRS += (("argmin", "argmax"), ("minimum", "maximum"), ("amin", "amax"), ("ess_bulk", "ess_tail"))
SWAPS = dict(PAIRS) | {b: a for a, b in PAIRS} | {"abs": "float", "sqrt": "square", "std": "var", "var": "std"}
SWAPS |= {"sum": "mean", "log": "exp", "exp": "log", "median": "mean", "isfinite": "isnan", "isnan": "isfinite"}

SYMMETRIC = {"min", "max", "hypot", "minimum", "maximum", "isclose"}
"""Functions whose arguments have no order."""


class SwapNames(Operator):
    """Another function or attribute of the same kind."""

    def mutation_positions(self, node):
        if node.type == "name" and node.value in SWAPS:
            before, after = node.get_previous_leaf(), node.get_next_leaf()
            if (before is not None and before.value == ".") or after.value == "(":
                yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        node.value = SWAPS[node.value]
        return node

    @classmethod
    def examples(cls):
        return ()


class BlankWord(SwapNames):
    """Another word: a key, a verdict, an option."""

    def mutation_positions(self, node):
        if node.type == "string" and re.fullmatch(r"(['\"])[\w ,-]{1,20}\1", node.value):
            yield node.start_pos, node.end_pos

    def mutate(self, node, index):
        node.value = '"XX"'
        return node


class DropKeyword(SwapNames):
    """A call without one of its keyword arguments."""

    @staticmethod
    def places(node) -> list[int]:
        is_list = node.type == "arglist" or (node.type == "trailer" and len(node.children) == 3)
        children = node.children if is_list else []
        return [n for n, part in enumerate(children) if part.type == "argument" and part.children[1] == "="]

    def mutation_positions(self, node):
        yield from [(node.children[place].start_pos, node.children[place].end_pos) for place in self.places(node)]

    def mutate(self, node, index):
        place = self.places(node)[index]
        after = [node.children[place + 1]] if node.type == "arglist" and place + 1 < len(node.children) else []
        gone = [node.children[place], *after]
        node.children = [part for part in node.children if not any(part is other for other in gone)]
        return node


class SwapArguments(SwapNames):
    """A call with its first two arguments exchanged."""

    def mutation_positions(self, node):
        if node.type == "arglist" and len(node.children) > 2:
            first, _, second = node.children[:3]
            function = first.get_first_leaf().get_previous_leaf().get_previous_leaf().value
            if "argument" not in (first.type, second.type) and function not in SYMMETRIC:
                yield first.start_pos, second.end_pos

    def mutate(self, node, index):
        first, comma, second = node.children[:3]
        node.children[:3] = [second, comma, first]
        return node


OPERATORS = (
    *(OperatorProvider()[name]() for name in CHOSEN),
    *(SwapNames(), BlankWord(), DropKeyword(), SwapArguments()),
)
