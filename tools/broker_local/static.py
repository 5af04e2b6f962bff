"""The playground's files. Served by the local server alone; nothing of this is deployed."""

from __future__ import annotations

from pathlib import Path

from broker_local.api_gateway import HttpResponse

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}


def static_response(folder: Path, method: str, path: str) -> HttpResponse | None:
    """The file behind `path` (decoded): `/` is index.html, `/playground/x` is x. None when there is no such file.

    Only regular files inside `folder` of a known type; nothing is cached, so that an edit shows at the next reload.
    """
    if method not in {"GET", "HEAD"}:
        return None
    name = "index.html" if path == "/" else path.removeprefix("/playground/")
    if name == path or "\0" in name:
        return None
    root = folder.resolve()
    file = (root / name).resolve()
    kind = _TYPES.get(file.suffix)
    if kind is None or not file.is_relative_to(root) or not file.is_file():
        return None
    headers = (("content-type", kind), ("cache-control", "no-store"), ("x-content-type-options", "nosniff"))
    return HttpResponse(200, headers, file.read_bytes())
