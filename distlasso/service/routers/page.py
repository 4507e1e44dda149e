"""``/``: a page for people. It holds no data; what it shows it asks for under ``/v1`` with its reader's token.

Read next: ``../page/main.js``.
"""

from __future__ import annotations

from importlib import resources
from typing import Literal

from fastapi import APIRouter, Response

_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}

Asset = Literal[
    "style.css", "icon.svg", "main.js", "api.js", "dom.js", "chart.js", "jobs.js", "job.js", "live.js", "explorer.js", "submit.js"
]  # fmt: skip

router = APIRouter(include_in_schema=False)


@router.get("/")
def page() -> Response:
    """The page."""
    return _file("index.html")


@router.get("/page/{name}")
def asset(name: Asset) -> Response:
    """What the page consists of."""
    return _file(name)


def _file(name: str) -> Response:
    content = (resources.files("distlasso.service") / "page" / name).read_bytes()
    return Response(content, media_type=_TYPES[name[name.rindex(".") :]], headers=_HEADERS)
