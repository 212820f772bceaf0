"""Docstrings of a class's attributes: the string literals below their annotations."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise


def attribute_docstrings(cls: type) -> dict[str, str]:
    """Return the docstrings of the attributes that a class itself annotates, by name.

    Reads the class's source. Only CRDs need them, so no other command pays for that.
    """
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    return dict(_documented(definition.body))


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    for statement, below in pairwise(body):
        match statement, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str() as text)),
            ):
                yield name, inspect.cleandoc(text)
