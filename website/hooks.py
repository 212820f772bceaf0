"""Hooks of MkDocs: links from docs/ to other files of the repository."""

import posixpath
import re
from pathlib import Path
from typing import Any

LINK = re.compile(r"\]\((\.\.?/[^)#]*)")
ROOT = Path(__file__).parent.parent


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:  # noqa: ANN401
    """Return a page whose links to files outside docs/ lead to the repository."""
    folder = posixpath.dirname(f"docs/{page.file.src_uri}")

    def rewritten(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, link[1]))
        if target.split("/")[0] == "docs":
            return link[0]
        view = "tree" if (ROOT / target).is_dir() else "blob"
        return f"]({config.repo_url}/{view}/main/{target}"

    return LINK.sub(rewritten, markdown)
