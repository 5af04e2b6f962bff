"""The few pages a person sees: sign in, allow or deny, and an error page.

Plain forms that work without JavaScript. Every value that comes from outside is escaped, the only style is this
module's own (allowed by its hash), and nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from urllib.parse import urlsplit

from sandbox_provider import forms
from sandbox_provider.call import Call
from sandbox_provider.forms import Pending
from sandbox_provider.people import PASSWORD, PEOPLE, person
from sandbox_provider.wire import Response

STYLE = """
:root { color-scheme: light dark; --ground: #f3f4f6; --card: #fff; --ink: #1b1f27; --soft: #545d6b; --line: #c9ced6;
  --strong: #1f4fb3; --on-strong: #fff; --warn: #5c3c00; --warn-ground: #ffe9b8; --bad: #9c1c1c; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --card: #1e232b; --ink: #e9ecf1; --soft: #a9b2c0;
  --line: #4a5361; --strong: #9dbdff; --on-strong: #10203f; --warn: #ffe2a0; --warn-ground: #4a3608; --bad: #ff9f9f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; }
.banner { margin: 0; padding: .6rem 1rem; background: var(--warn-ground); color: var(--warn); text-align: center;
  font-weight: 600; }
main { max-width: 30rem; margin: 2rem auto; padding: 1.5rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .75rem; overflow-wrap: anywhere; }
h1 { margin: 0 0 1rem; font-size: 1.4rem; line-height: 1.25; }
h2 { margin: 1.75rem 0 .25rem; font-size: 1rem; }
p, ul { margin: 0 0 1rem; }
.soft { color: var(--soft); font-size: .9rem; }
.error { padding: .6rem .8rem; border: 1px solid var(--bad); border-radius: .4rem; color: var(--bad); }
label { display: block; margin-bottom: .2rem; font-weight: 600; }
input { width: 100%; margin-bottom: 1rem; padding: .6rem; border: 1px solid var(--soft); border-radius: .4rem;
  background: var(--card); color: var(--ink); font: inherit; }
.choices { display: flex; flex-wrap: wrap; gap: .75rem; }
button { flex: 1 1 8rem; padding: .65rem 1rem; border: 1px solid var(--strong); border-radius: .4rem;
  background: var(--strong); color: var(--on-strong); font: inherit; font-weight: 600; cursor: pointer; }
button.plain { background: transparent; color: var(--strong); }
:focus-visible { outline: 3px solid var(--strong); outline-offset: 2px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem .9rem; margin: .5rem 0 0; }
dt { font-family: ui-monospace, monospace; }
dd { margin: 0; }
main > :last-child { margin-bottom: 0; }
form { margin: 0 0 1rem; }
@media (max-width: 32rem) { main { max-width: none; margin: 0; border: 0; border-radius: 0; } }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

# No form-action: browsers apply it to the redirects after the form as well, and the last of these leads to the
# application, wherever that is.
_HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
)


def login(call: Call, pending: Pending, *, failed: bool = False) -> Response:
    """Ask who it is. `failed` after a wrong user name or password."""
    message = (
        '<p class="error" role="alert">User name or password is wrong. Try again with one of the people below.</p>'
        if failed
        else ""
    )
    listed = "".join(f"<dt>{escape(p.username)}</dt><dd>{escape(p.full_name)}</dd>" for p in PEOPLE)
    return _page(
        call.title,
        f"Sign in to {call.title}",
        f"""<p><strong>{escape(call.client.name)}</strong> asks for access to your {escape(call.title)} account.</p>
{message}
<form method="post" action="{escape(call.url("login"))}">
{_hidden("login", call, pending)}
<label for="username">User name</label>
<input id="username" name="username" autocomplete="username" autocapitalize="none" spellcheck="false" required>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required>
<div class="choices"><button type="submit">Sign in</button></div>
</form>
<h2>People you can be</h2>
<p class="soft">The password is <strong>{escape(PASSWORD)}</strong> for all of them.</p>
<dl>{listed}</dl>""",
    )


def consent(call: Call, pending: Pending, access: tuple[str, ...]) -> Response:
    """Ask whether the application may have access, naming what it gets and where the person goes next."""
    items = "".join(f"<li>{escape(text)}</li>" for text in access)
    target = urlsplit(pending.redirect_uri)
    return _page(
        call.title,
        "Allow access?",
        f"""<p>You are signed in as <strong>{escape(person(pending.username).full_name)}</strong>.</p>
<p><strong>{escape(call.client.name)}</strong> ({escape(call.client.client_id)}) wants to:</p>
<ul>{items}</ul>
<form method="post" action="{escape(call.url("consent"))}">
{_hidden("consent", call, pending)}
<div class="choices">
<button type="submit" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="deny" class="plain">Deny</button>
</div>
</form>
<p class="soft">You will return to {escape(f"{target.scheme}://{target.netloc}")}.</p>""",
    )


def refused(title: str, explanation: str) -> Response:
    """Say why the request goes no further. Never leads anywhere."""
    return _page(title, "This request cannot be served", f"<p>{escape(explanation)}</p>", status=400)


def _hidden(purpose: forms.Purpose, call: Call, pending: Pending) -> str:
    sealed = forms.seal(purpose, pending, call.settings, call.now)
    return f'<input type="hidden" name="request" value="{escape(sealed)}">'


def _page(provider_title: str, heading: str, content: str, status: int = 200) -> Response:
    body = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{escape(heading)} - sandbox</title>
<link rel="icon" href="data:,">
<style>{STYLE}</style>
</head>
<body>
<p class="banner" role="note">Sandbox - {escape(provider_title)} - fake provider</p>
<main>
<h1>{escape(heading)}</h1>
{content}
</main>
</body>
</html>
"""
    return Response(status, body, _HEADERS)
