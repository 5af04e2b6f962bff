"""One page: its frame, its style and the headers that keep it safe."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from urllib.parse import urlsplit

from broker.gateway import Response

STYLE = """
:root { color-scheme: light dark; --ink: #1c1f26; --soft: #545b69; --paper: #fff; --ground: #f2f4f8; --line: #d5dae3; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #eceff5; --soft: #a9b1c0; --paper: #1b1f28; --ground: #11141a; --line: #343b49; } }
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 1.5rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.55 system-ui, sans-serif; }
main { width: 100%; max-width: 30rem; padding: 2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 0.75rem; }
h1 { margin: 0 0 0.75rem; font-size: 1.4rem; line-height: 1.25; }
p { margin: 0 0 0.75rem; }
.soft { color: var(--soft); font-size: 0.9rem; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def headers(form_targets: Sequence[str] = (), script: str = "'none'") -> dict[str, str]:
    """The headers of a page: RFC 9700 section 4.16 (no framing) and a policy under which injected markup does nothing.

    `form_targets`: URLs that its form leads to, redirects included, because browsers check those too.
    """
    targets = " ".join(dict.fromkeys(_source(url) for url in form_targets)) or "'none'"
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src 'none'; script-src {script}; base-uri 'none';"
        f" form-action {targets}; frame-ancestors 'none'"
    )
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "x-frame-options": "DENY",
    }


def render(
    title: str, body: str, status: int = 200, *, form_targets: Sequence[str] = (), script: str | None = None
) -> Response:
    """A whole page. `title` is text, `body` is HTML whose variable parts the caller has escaped; `script` is a URL."""
    tag = f'<script src="{escape(script)}" defer></script>' if script else ""
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{STYLE}</style>{tag}</head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(status, document, headers(form_targets, escape(script) if script else "'none'"))


def hidden_fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Hidden inputs, escaped."""
    return "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in pairs)


def _source(url: str) -> str:
    """A URL as a source of a Content-Security-Policy: its origin, or its scheme alone for a native app's URL."""
    if url == "'self'":
        return url
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.hostname:
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return f"{parts.scheme}:"
