"""The pages of docs/, and the reasons in the code that they must explain."""

import ast
import re
from collections.abc import Iterator
from inspect import getsource
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
WORD = re.compile(r"^([A-Z][a-z]+){2,}$")


def page(*names: str) -> str:
    """Return the text of pages in docs/, one after the other."""
    return "\n".join((DOCS / name).read_text() for name in names)


def blocks(text: str, language: str) -> list[str]:
    """Return the code blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def reasons(module: ModuleType) -> Iterator[str]:
    """Yield every reason in a module's source: two CamelCase words or more."""
    for node in ast.walk(ast.parse(getsource(module))):
        if isinstance(node, ast.Constant) and WORD.match(str(node.value)):
            yield str(node.value)


def unexplained(module: ModuleType, text: str) -> set[str]:
    """Return the reasons of a module that a page does not name."""
    return {reason for reason in reasons(module) if f"`{reason}`" not in text}
