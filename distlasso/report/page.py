"""A report as one file: contents, style and script in an HTML page that lets nothing else in.

Names of features come from whoever made the data. They travel as JSON inside the page, in which no ``<`` is left, and the
script puts them up as text only; on top of that, the page's policy names its own script and style by their hashes, so that
the browser runs and loads nothing else. Read next: ``contents.py``.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from importlib import resources
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any

from distlasso.errors import StoreError
from distlasso.report.contents import contents
from distlasso.whole import whole_file

if TYPE_CHECKING:
    from distlasso.path.cross_validation import CrossValidation
    from distlasso.path.result import Path

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; style-src '{style_hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="report"><noscript>This report draws itself: it needs JavaScript, but no network.</noscript></main>
<script type="application/json" id="contents">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def write_report(
    file: str | os.PathLike[str], path: Path, cv: CrossValidation | None = None, *, title: str = "model", lam: float | None = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a report: it has its final name only when it is whole.

    Parameters
    ----------
    file : path
        Where: ``.html``.
    path : Path
        What was fitted.
    cv : CrossValidation, optional
        How one of its solutions was chosen.
    title : str
        Name of the model.
    lam : float, optional
        Whose model is listed, the nearest of the path; by default the chosen one, or the last.
    overwrite : bool
        Whether a file of that name is replaced.

    Raises
    ------
    InputError
        If ``lam`` is not a positive number.
    StoreError
        If the file exists and ``overwrite`` is false, or cannot be written.
    """
    place = FilePath(file)
    if place.exists() and not overwrite:
        raise StoreError(f"{place} exists already: choose another name or pass overwrite=True")
    text = page(contents(path, cv, title, lam))
    try:
        with whole_file(place) as wip:
            wip.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StoreError(f"cannot write {place}: {error.strerror or error}") from error


def page(values: dict[str, Any]) -> str:
    """The page of some contents."""
    folder = resources.files("distlasso.report")
    script, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("report.js", "report.css"))
    data = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return _PAGE.format(
        title=html.escape(f"{values['title']} - distlasso"), style=style, script=script, data=data,
        style_hash=_hash(style), script_hash=_hash(script),
    )  # fmt: skip


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
