"""One page: its frame, its style and the headers that keep it safe."""

import base64
import hashlib
from html import escape

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

HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'",
    "x-frame-options": "DENY",
}
"""RFC 9700 section 4.16 (no framing) and a policy under which an injected script or style does nothing."""


def render(title: str, body: str, status: int = 200) -> Response:
    """A whole page. `title` is text, `body` is HTML whose variable parts the caller has escaped."""
    document = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    return Response(status, document, HEADERS)
