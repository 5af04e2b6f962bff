"""The style of the pages: one small style sheet, in the page itself so that a login waits for no second request.

The brand's colours come first as variables; what has to be readable on or beside them is computed, never chosen.
"""

from functools import lru_cache

from broker.brand import Brand
from broker.pages import colours

_LIGHT = {"paper": "#ffffff", "ink": "#171b23", "soft": "#515967", "line": "#d8dde6", "fill": "#f4f6fa"}
_DARK = {"paper": "#191e27", "ink": "#edf0f6", "soft": "#aab3c2", "line": "#363e4c", "fill": "#222936"}
_WARNING_LIGHT = {"warn-ink": "#5c3a00", "warn-fill": "#fff6e0", "warn-line": "#d9a441"}
_WARNING_DARK = {"warn-ink": "#ffdc9a", "warn-fill": "#33270f", "warn-line": "#8f6a1f"}


@lru_cache(maxsize=4)
def sheet(brand: Brand) -> str:
    """The whole style sheet of a brand."""
    light = _variables(brand.accent, brand.background, _LIGHT) | _WARNING_LIGHT
    dark = _variables(brand.accent_dark or brand.accent, brand.background_dark, _DARK) | _WARNING_DARK
    return (
        f":root{{color-scheme:light dark;{_declared(light)}}}\n"
        f"@media (prefers-color-scheme:dark){{:root{{{_declared(dark)}}}}}\n{_RULES}"
    )


def _variables(accent: str, ground: str, neutral: dict[str, str]) -> dict[str, str]:
    """accent: large areas; on-accent: text on them; edge: their outline; link: the accent as text or focus ring."""
    paper, fill = neutral["paper"], neutral["fill"]
    return neutral | {
        "ground": ground,
        "on-ground": _readable(neutral["ink"], ground),
        "soft-on-ground": _readable(neutral["soft"], ground),
        "link-on-ground": colours.adjusted(accent, ground),
        "accent": accent,
        "on-accent": colours.readable_on(accent),
        "edge": colours.adjusted(accent, paper, least=colours.PARTS),
        "link": colours.adjusted(accent, paper, fill),
    }


def _readable(usual: str, ground: str) -> str:
    """The usual colour of text where it can be read, else plain black or white: something between would look dim."""
    return usual if colours.contrast(usual, ground) >= colours.TEXT else colours.readable_on(ground)


def _declared(variables: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in variables.items())


_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;min-height:100vh;min-height:100dvh;display:flex;flex-direction:column;align-items:center;justify-content:center;
gap:1.25rem;padding:2rem 1rem;background:var(--ground);color:var(--ink);overflow-wrap:anywhere;
font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main,footer{width:100%;max-width:28rem}
header{display:flex;align-items:center;justify-content:center;gap:.6rem;color:var(--on-ground);font-weight:600}
header img{max-width:10rem;max-height:2.5rem;object-fit:contain}
header svg{flex:none;width:1.75rem;height:1.75rem;color:var(--link-on-ground)}
main{padding:2rem;background:var(--paper);border:1px solid var(--line);border-radius:1rem;
box-shadow:0 1px 2px rgb(0 0 0/.05),0 10px 30px rgb(0 0 0/.06)}
footer{text-align:center;font-size:.875rem;color:var(--soft-on-ground)}
footer p{margin:0}
footer ul{display:flex;flex-wrap:wrap;justify-content:center;gap:.25rem 1.25rem;margin:.4rem 0 0;padding:0;list-style:none}
footer a{color:var(--link-on-ground)}
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25;letter-spacing:-.01em;font-weight:650;text-wrap:balance}
h2{margin:1.5rem 0 .5rem;font-size:1rem;line-height:1.4;font-weight:600}
p{margin:0 0 1rem}
a{color:var(--link);text-underline-offset:.15em}
:focus-visible{outline:3px solid var(--link);outline-offset:2px}
footer :focus-visible{outline-color:var(--link-on-ground)}
h1+.soft{margin-top:-.65rem}
.soft{color:var(--soft);font-size:.9375rem}
.small{color:var(--soft);font-size:.875rem}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.9em}
form{margin:1.5rem 0 0}
label{display:block;margin:0 0 .35rem;font-weight:600}
input:not([type=hidden],[type=radio]){width:100%;min-height:3rem;margin:0 0 1rem;padding:.6rem .9rem;font:inherit;
color:var(--ink);background:var(--paper);border:1px solid var(--soft);border-radius:.6rem}
input.code{font:600 1.5rem/1.3 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.12em;text-align:center;
text-transform:uppercase}
[aria-invalid=true]{border-width:2px}
fieldset.choices{margin:0 0 1.25rem;border:0}
legend{margin:0 0 .6rem;padding:0;font-weight:600}
.choice input{flex:none;margin:0}
.actions{display:flex;flex-wrap:wrap;gap:.75rem}
button,.choice{min-height:3rem;font:inherit;font-weight:600;border-radius:.6rem;cursor:pointer}
button{flex:1 1 8rem;width:100%;padding:.6rem 1.2rem;color:var(--on-accent);background:var(--accent);border:1px solid var(--edge)}
.actions button{width:auto}
button.quiet{color:var(--ink);background:transparent;border-color:var(--soft)}
button:hover,.choice:hover{box-shadow:0 0 0 3px color-mix(in srgb,var(--link) 22%,transparent)}
.choices{display:grid;gap:.6rem;margin:1.5rem 0 0;padding:0;list-style:none}
.choice{display:flex;align-items:center;gap:.85rem;padding:.6rem .9rem;color:var(--ink);text-decoration:none;
border:1px solid var(--line);border-radius:.75rem}
.choice:hover{border-color:var(--link)}
.choice>span:nth-child(2){flex:1}
.choice svg{flex:none;width:1.1rem;height:1.1rem;color:var(--soft)}
[dir=rtl] .choice svg{transform:scaleX(-1)}
.tile{flex:none;display:grid;place-items:center;width:2.25rem;height:2.25rem;border:1px solid var(--line);border-radius:.6rem;
background:var(--fill);color:var(--link);font-weight:700;line-height:1}
.pair{display:flex;align-items:center;gap:.6rem;margin:0 0 1.25rem}
.pair .tile{width:3rem;height:3rem;font-size:1.25rem}
.pair i{width:2rem;border-top:2px dashed var(--soft);opacity:.7}
.person{display:flex;align-items:center;gap:.85rem;margin:1.25rem 0 0;padding:.75rem .9rem;background:var(--fill);
border:1px solid var(--line);border-radius:.75rem}
.person .tile{border-radius:50%;background:var(--paper)}
.person p{margin:0;line-height:1.4}
.scopes{margin:0;padding:0;list-style:none}
.scopes li{position:relative;padding:.2rem 0;padding-inline-start:1.75rem}
.scopes svg{position:absolute;inset-inline-start:0;top:.5rem;width:1.1rem;height:1.1rem;color:var(--link)}
.warning+p{margin-top:1.25rem}
.warning{margin:1.25rem 0 0;padding:.75rem .9rem;color:var(--warn-ink);background:var(--warn-fill);
border:1px solid var(--warn-line);border-radius:.75rem}
.after{margin:1.25rem 0 0}
.about{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;margin:.75rem 0 0;padding:0;list-style:none;font-size:.875rem}
dl.support{display:grid;grid-template-columns:auto 1fr;gap:.15rem .9rem;margin:.35rem 0 0;color:var(--soft);font-size:.875rem}
dl.support dd{margin:0}
.support-note{margin:1.5rem 0 0;padding-top:1rem;border-top:1px solid var(--line);color:var(--soft);font-size:.875rem}
.sign{display:grid;place-items:center;width:3rem;height:3rem;margin:0 0 1.25rem;border-radius:50%;background:var(--fill);
border:1px solid var(--line);color:var(--link)}
.sign svg{width:1.5rem;height:1.5rem}
.usercode{margin:0 0 1rem;padding:.75rem;text-align:center;background:var(--fill);border:1px solid var(--line);
border-radius:.75rem;font:600 1.6rem/1.3 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;letter-spacing:.1em}
@media (max-width:30rem){
body{padding:1.25rem .75rem;justify-content:flex-start}
main{padding:1.5rem 1.15rem}
h1{font-size:1.35rem}
}
@media (prefers-reduced-motion:no-preference){button,.choice{transition:box-shadow .15s,border-color .15s}}
@media (prefers-contrast:more){:root{--soft:var(--ink);--line:var(--ink)}}
@media (forced-colors:active){main,.tile,.person,.warning,button{border-color:CanvasText}:focus-visible{outline-color:Highlight}}
"""
