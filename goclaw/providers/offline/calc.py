"""Arithmetic on text from strangers: `+ - * / // % **`, brackets and numbers, nothing else."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable

LENGTH = 200  # characters of an expression
DIGITS = 300  # decimal digits of any number on the way
Number = int | float

BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
SPELLINGS = str.maketrans({"×": "*", "÷": "/", "^": "**", "−": "-", "（": "(", "）": ")"})


def calculate(expression: str) -> str:
    """The value of `expression` in digits. Raises ValueError for what is not arithmetic, or too big."""
    text = expression.translate(SPELLINGS).strip()
    if len(text) > LENGTH:
        raise ValueError(f"the expression is longer than {LENGTH} characters")
    try:
        value = _value(ast.parse(text, mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError):
        raise ValueError("that is not an arithmetic expression") from None
    except ZeroDivisionError:
        raise ValueError("that divides by zero") from None
    except OverflowError:
        raise ValueError("the result is too large") from None
    return str(value) if isinstance(value, int) else f"{value:.12g}"


def _value(node: ast.expr) -> Number:
    match node:
        case ast.Constant(value=bool() | complex()):
            pass
        case ast.Constant(value=int() | float() as number):
            return _small(number)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
            return _small(BINARY[type(op)](_value(left), _value(right)))
    raise ValueError("only numbers, brackets and + - * / // % ** are calculated")


def _power(base: Number, exponent: Number) -> Number:
    """`base ** exponent`, refused before it is computed if it would be too large."""
    if base and abs(exponent) * abs(math.log10(abs(base))) > DIGITS:
        raise OverflowError
    result = base**exponent
    if isinstance(result, complex):
        raise ValueError("the result is not a real number")
    return _small(result)


def _small(number: Number) -> Number:
    if not math.isfinite(number) or abs(number) >= 10**DIGITS:
        raise OverflowError
    return number
