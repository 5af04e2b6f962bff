"""One page: its frame, its style and the headers that keep it safe."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from html import escape
from urllib.parse import urlsplit

from broker.brand import Brand
from broker.gateway import Response
from broker.pages import branding, icons, style

_SOURCE = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.IGNORECASE)


def headers(
    form_targets: Sequence[str] = (),
    script: str = "'none'",
    *,
    returns_to: str | None = None,
    brand: Brand | None = None,
) -> dict[str, str]:
    """The headers of a page: RFC 9700 section 4.16 (no framing) and a policy under which injected markup does nothing.

    form_targets: URLs that its form is sent to; only their origins are allowed.
    returns_to: the client's URL that the answer to the form leads to. Browsers check every redirect that follows a form
        (Chromium does), and a client may well send the browser on to another host of its own after it took the code; so its
        scheme is allowed, not its origin alone.
    """
    brand = brand or branding.current()
    sources = [_source(url) for url in form_targets] + ([_scheme(returns_to)] if returns_to else [])
    targets = " ".join(dict.fromkeys(sources)) or "'none'"
    policy = (
        f"default-src 'none'; style-src '{_style_hash(brand)}'; img-src {brand.logo_source}; script-src {script};"
        f" base-uri 'none'; form-action {targets}; frame-ancestors 'none'"
    )
    return {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": policy,
        "x-frame-options": "DENY",
    }


def render(
    title: str,
    body: str,
    status: int = 200,
    *,
    form_targets: Sequence[str] = (),
    returns_to: str | None = None,
    script: str | None = None,
    heading: str | None = None,
    sign: str = "",
) -> Response:
    """A whole page. `title` is text, `body` is HTML whose variable parts the caller has escaped; `script` is a URL.

    heading: HTML of the heading, where it is not the title. Names that strangers chose belong there, not in a title.
    sign: HTML of the picture above it, which is decoration.
    """
    brand = branding.current()
    tag = f'<script src="{escape(script)}" defer></script>' if script else ""
    shown = heading if heading is not None else escape(title)
    document = (
        f'<!doctype html><html lang="{brand.language}" dir="{brand.direction}"><head><meta charset="utf-8">'
        f"<title>{escape(title)} – {escape(brand.name)}</title>"
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<style>{style.sheet(brand)}</style>{tag}</head><body>{_header(brand)}"
        f"<main>{sign}<h1>{shown}</h1>{body}</main>{_footer(brand)}</body></html>"
    )
    policy = headers(form_targets, escape(script) if script else "'none'", returns_to=returns_to, brand=brand)
    return Response(status, document, policy)


def hidden_fields(pairs: Iterable[tuple[str, str]]) -> str:
    """Hidden inputs, escaped."""
    return "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in pairs)


def _header(brand: Brand) -> str:
    # The name stands beside the logo, so the picture adds nothing for who cannot see it.
    logo = f'<img src="{escape(brand.logo)}" alt="" referrerpolicy="no-referrer">' if brand.logo else icons.SHIELD
    return f"<header>{logo}<span>{escape(brand.name)}</span></header>"


def _footer(brand: Brand) -> str:
    links = "".join(
        f'<li><a href="{escape(link.url)}" rel="noreferrer">{escape(link.label)}</a></li>'
        for link in brand.footer_links
    )
    listed = f'<nav aria-label="{branding.say("footer.label")}"><ul>{links}</ul></nav>' if links else ""
    return f"<footer><p>{branding.say('footer.note')}</p>{listed}</footer>"


@lru_cache(maxsize=4)
def _style_hash(brand: Brand) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(style.sheet(brand).encode()).digest()).decode()


def _source(url: str) -> str:
    """A URL as a source of a Content-Security-Policy: its origin, or its scheme alone where a policy knows no origin (a
    native app's URL, an IPv6 address, a host that is not ASCII). Whatever a URL holds, no other directive gets in."""
    if url == "'self'":
        return url
    parts = urlsplit(url)
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return origin if _SOURCE.fullmatch(origin) else _scheme(url)


def _scheme(url: str) -> str:
    scheme = urlsplit(url).scheme
    return f"{scheme}:" if _SCHEME.fullmatch(scheme) else "'none'"
