"""The playground as a person meets it: every way through it, by what is to be seen."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import ViewportSize, expect

from broker import clock
from browser.conftest import DESKTOP, PHONE, SMALL_PHONE, TABLET, ColorScheme, OpenPlayground
from browser.playground import Playground

REFUSED = "Failed to load resource: the server responded with a status of 4"
"""What Chromium itself writes to the console for an answer that a test asks for on purpose."""

JOHN = {
    "infolobby": {"name": "John Doe", "email": "john@example.com", "zoneinfo": "Europe/London", "locale": "en-GB"},
    "redbooth": {
        "email": "john@example.com",
        "given_name": "John",
        "family_name": "Doe",
        "preferred_username": "johndoe",
    },
}
IN_ID_TOKEN = ["ID token signature", *(f"ID token {claim}" for claim in ("iss", "aud", "exp", "at_hash", "nonce"))]
CHECKS = ["state", "iss", *IN_ID_TOKEN, "userinfo sub"]
SIGN_IN_ON_THE_WIRE = [
    "GET /.well-known/openid-configuration 200",
    "POST /token 200",
    "GET /.well-known/jwks.json 200",
    "GET /userinfo 200",
]


@pytest.mark.parametrize(("name", "title"), [("infolobby", "InfoLobby"), ("redbooth", "Redbooth")])
def test_sign_in_refresh_and_sign_out(open_playground: OpenPlayground, name: str, title: str) -> None:
    """The whole journey: tokens checked and decoded, the profile, a rotation, its retry, and the end."""
    with open_playground(may_log=(REFUSED,)) as playground:
        assert playground.step() == "Get ready (you are here)"
        playground.sign_in(title)
        assert playground.page.url == f"{playground.base}/"  # the code is gone from the address
        assert playground.step() == "Signed in (you are here)"
        profile = playground.table("#profile")
        assert profile.pop("sub")
        assert {claim: value for claim, value in profile.items() if claim in JOHN[name]} == JOHN[name]
        assert playground.checks("#checks") == dict.fromkeys(CHECKS, True)
        assert playground.wire()[-4:] == SIGN_IN_ON_THE_WIRE
        _look_at_tokens(playground)
        _refresh_and_retry(playground)
        _sign_out(playground)


def _look_at_tokens(playground: Playground) -> None:
    access, identity, refresh = (playground.token(kind) for kind in ("access", "id", "refresh"))
    assert access.count(".") == identity.count(".") == 2
    assert refresh.startswith("tbr_")
    header = playground.table("[data-token=access] table:nth-of-type(1)")
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    claims = playground.table("[data-token=id] table:nth-of-type(2)")
    assert (claims["iss"], claims["aud"]) == (playground.base, "playground")
    expect(playground.page.get_by_role("timer")).to_have_text(re.compile(r"^(9 min \d\d|10 min 00) s left$"))
    # Credentials live in memory only, and the journal has them shortened.
    stored = playground.storage()
    assert not any(token in stored for token in (access, identity, refresh))
    assert "verifier" not in re.sub(r"code_verifier", "", stored)


def _refresh_and_retry(playground: Playground) -> None:
    first = playground.token("refresh")
    result = playground.page.locator("#refresh-result")
    expect(playground.button("Refresh again with the old token")).to_be_disabled()
    playground.press("Refresh")
    expect(result.get_by_text("Refreshed", exact=True)).to_be_visible()
    second = playground.token("refresh")
    assert second.startswith("tbr_")
    assert second != first
    assert playground.facts("#refresh-result") == {"old": _short(first), "new": _short(second)}
    access = playground.token("access")
    expect(playground.button("Refresh with an older token")).to_be_disabled()
    playground.press("Refresh again with the old token")
    expect(result.get_by_text("The same successor", exact=True)).to_be_visible()
    shown = playground.facts("#refresh-result")
    assert shown == {"sent": _short(first), "held": _short(second), "answer": _short(second)}
    assert playground.token("refresh") == second
    assert playground.token("access") != access
    # What the retry brought is used: the next rotation and the profile work.
    playground.press("Refresh")
    expect(result.get_by_text("Refreshed", exact=True)).to_be_visible()
    assert playground.token("refresh") not in (first, second)
    playground.press("Read it again")
    expect(playground.page.locator("#announcement")).to_have_text("The profile was read again.")
    assert playground.wire()[-4:] == ["POST /token 200"] * 3 + ["GET /userinfo 200"]


def _sign_out(playground: Playground) -> None:
    playground.press("Sign out")
    expect(playground.heading("You are signed out")).to_be_focused()
    assert playground.wire()[-1] == "POST /revoke 200"
    playground.press("Try the old access token")
    expect(playground.page.locator("#ended-probe")).to_have_text(
        "/userinfo answers 401 invalid_token: the login of this access token has ended."
    )
    playground.press("Start again")
    expect(playground.heading("Pick a provider")).to_be_focused()


def _short(token: str) -> str:
    return f"{token[:8]}…{token[-8:]}"


@pytest.mark.parametrize(
    "title", ["InfoLobby", "LockitNetwork", "PHP style", "Redbooth", "Iternio", "Iternio, live", "OpenID-like"]
)
def test_every_provider_leads_to_a_session(open_playground: OpenPlayground, title: str) -> None:
    """All of them end in the same place, whatever their dialect."""
    with open_playground() as playground:
        playground.sign_in(title, "zoe")
        assert playground.checks("#checks") == dict.fromkeys(CHECKS, True)
        expect(playground.page.locator("#person-by")).to_have_text(f"signed in with {title}")
        if title == "LockitNetwork":
            assert list(playground.table("#profile")) == ["sub"]
        else:
            assert playground.table("#profile")["email"] == "zoë@example.com"


@pytest.mark.parametrize("title", ["InfoLobby", "PHP style"])
def test_deny(open_playground: OpenPlayground, title: str) -> None:
    """The error is shown well: what happened, the code for the developer, and that the answer itself was genuine."""
    with open_playground() as playground:
        playground.choose(title)
        playground.log_in()
        playground.press("Deny")
        expect(playground.heading("You chose Deny")).to_be_focused()
        assert playground.step() == "Sign in (stopped here)"
        facts = playground.facts("#failure-facts")
        assert facts["error"] == "access_denied"
        assert facts["error_description"] != "none"
        assert facts["iss"] == playground.base
        assert playground.checks("#failure-checks") == {"state": True, "iss": True}
        assert playground.page.url == f"{playground.base}/"
        assert "POST /token" not in " ".join(playground.wire())
        playground.press("Start again")
        playground.sign_in(title)


def test_reuse_ends_the_login(open_playground: OpenPlayground) -> None:
    """A token that was replaced twice ends everything, and the page says why."""
    with open_playground(may_log=(REFUSED,)) as playground:
        playground.sign_in("Redbooth")
        result = playground.page.locator("#refresh-result")
        for generation in (2, 3):
            playground.press("Refresh")
            expect(playground.page.locator("#generations li")).to_have_count(generation)
            expect(result.get_by_text("Refreshed", exact=True)).to_be_visible()
        playground.press("Refresh with an older token")
        expect(playground.heading("This login has ended for everybody")).to_be_focused()
        assert playground.facts("#ended-facts") == {
            "status": "400",
            "error": "invalid_grant",
            "error_description": "the refresh token was used before, please log in again",
        }
        assert playground.wire()[-1] == "POST /token 400"
        playground.press("Try the old access token")
        expect(playground.page.locator("#ended-probe")).to_contain_text("/userinfo answers 401 invalid_token")


def test_a_retry_after_the_window_is_reuse(open_playground: OpenPlayground) -> None:
    """The broker forgives for 30 seconds."""
    with open_playground(may_log=(REFUSED,)) as playground:
        playground.sign_in("InfoLobby")
        playground.press("Refresh")
        expect(playground.button("Refresh again with the old token")).to_be_enabled()
        clock.offset = 31
        playground.press("Refresh again with the old token")
        expect(playground.heading("This login has ended for everybody")).to_be_focused()


def test_the_refresh_token_in_a_cookie(open_playground: OpenPlayground) -> None:
    """The other client: no script sees the refresh token, a reload keeps the session, and signing out ends it."""
    with open_playground(may_log=(REFUSED,)) as playground:
        playground.page.get_by_text("More choices").click()
        playground.page.get_by_text("In an HttpOnly cookie").click()
        playground.sign_in("InfoLobby")
        assert playground.token("access").count(".") == 2
        assert playground.page.locator("[data-token=refresh] .raw").count() == 0
        (cookie,) = [c for c in playground.page.context.cookies() if "refresh" in c.get("name", "")]
        assert (cookie.get("httpOnly"), cookie.get("sameSite")) == (True, "Strict")
        assert "tbr_" not in playground.page.content() + playground.storage()
        playground.press("Refresh")
        expect(playground.page.locator("#refresh-result").get_by_text("Refreshed", exact=True)).to_be_visible()
        assert playground.wire()[-1] == "POST /refresh 200"
        playground.picture("cookie-desktop-light")
        playground.page.reload()
        expect(playground.heading("Profile")).to_be_visible()
        expect(playground.page.locator("#person")).to_have_text("John Doe")
        playground.press("Sign out")
        expect(playground.heading("You are signed out")).to_be_visible()
        playground.page.reload()
        expect(playground.heading("Pick a provider")).to_be_visible()
        assert not [c for c in playground.page.context.cookies() if "refresh" in c.get("name", "")]


def test_two_tabs(open_playground: OpenPlayground) -> None:
    """Two sign-ins at once do not disturb each other, whichever ends first."""
    with open_playground() as first:
        second = first.new_tab()
        first.choose("InfoLobby")
        second.choose("Redbooth")
        second.log_in("zoe")
        first.log_in("johndoe")
        second.press("Allow")
        first.press("Allow")
        for tab, name in ((first, "John Doe"), (second, "Zoë Müller-Łukasiewicz 李")):
            expect(tab.heading("Profile")).to_be_visible()
            expect(tab.page.locator("#person")).to_have_text(name)


def test_an_answer_that_nobody_asked_for(open_playground: OpenPlayground) -> None:
    """Login CSRF: a code with a state of somebody else is thrown away, and never sent anywhere."""
    with open_playground() as playground:
        playground.page.goto(f"{playground.base}/?code=tbc_somebody&state=elses&iss={playground.base}")
        expect(playground.heading("This page refused the answer")).to_be_focused()
        assert playground.facts("#failure-facts")["error"] == "state mismatch"
        assert playground.checks("#failure-checks") == {"state": False, "iss": True}
        assert playground.page.url == f"{playground.base}/"
        assert "POST /token" not in " ".join(playground.wire())


def test_an_answer_of_another_server(open_playground: OpenPlayground) -> None:
    """Mix-up (RFC 9207): the right state with the wrong issuer."""
    with open_playground() as playground:
        playground.choose("InfoLobby")
        state = playground.page.evaluate(
            "Object.keys(sessionStorage).find(key => key.includes('transaction')).split('.').pop()"
        )
        playground.page.goto(f"{playground.base}/?code=tbc_genuine&state={state}&iss=https://other.example")
        expect(playground.heading("This page refused the answer")).to_be_focused()
        assert playground.facts("#failure-facts")["error"] == "issuer mismatch"
        assert playground.checks("#failure-checks") == {"state": True, "iss": False}
        assert "POST /token" not in " ".join(playground.wire())


def test_mistakes(open_playground: OpenPlayground) -> None:
    """What a developer may do wrong, and where it is noticed."""
    with open_playground(may_log=(REFUSED,)) as playground:
        playground.make_mistake("No PKCE challenge")
        playground.press("Sign in with InfoLobby")
        expect(playground.heading("The broker refused the request")).to_be_focused()
        assert playground.facts("#failure-facts")["error"] == "invalid_request"
        assert playground.step() == "/authorize (stopped here)"

        playground.open()
        playground.make_mistake("A wrong PKCE secret at /token")
        playground.choose("InfoLobby")
        playground.log_in()
        playground.press("Allow")
        expect(playground.heading("The broker refused the grant")).to_be_focused()
        facts = playground.facts("#failure-facts")
        assert (facts["error"], facts["status"]) == ("invalid_grant", "400")
        assert playground.step() == "/token (stopped here)"

        playground.open()
        playground.make_mistake("An answer with a state of somebody else")
        playground.choose("InfoLobby")
        playground.log_in()
        playground.press("Allow")
        expect(playground.heading("This page refused the answer")).to_be_focused()


def test_no_answer_in_a_session(open_playground: OpenPlayground) -> None:
    """A broker that cannot be reached costs nothing: the page says so, and the same button works later."""
    with open_playground(
        may_log=("Failed to load resource: net::ERR_FAILED", "TypeError: Failed to fetch")
    ) as playground:
        playground.sign_in("InfoLobby")
        before = playground.token("refresh")
        playground.page.route("**/token", lambda route: route.abort())
        playground.press("Refresh")
        expect(playground.page.get_by_role("alert")).to_have_text(
            "The broker does not answer: No answer came from the broker."
        )
        assert playground.token("refresh") == before
        playground.page.unroute("**/token")
        playground.press("Refresh")
        expect(playground.page.locator("#refresh-result").get_by_text("Refreshed", exact=True)).to_be_visible()
        expect(playground.page.get_by_role("alert")).to_be_empty()
        assert playground.token("refresh") != before


def test_the_wrong_address(open_playground: OpenPlayground) -> None:
    """127.0.0.1 is not localhost: the page says so instead of sending people into an error."""
    with open_playground(may_log=("foreign request: http://127.0.0.1:",)) as playground:
        playground.page.goto(playground.base.replace("localhost", "127.0.0.1"))
        playground.press("Sign in with InfoLobby")
        expect(playground.heading("Open the playground at the broker’s own address")).to_be_focused()
        assert playground.base in playground.facts("#failure-facts")["error_description"]


def test_back_button(open_playground: OpenPlayground) -> None:
    """Turning back at the provider's page leads to the choice again, and it works."""
    with open_playground() as playground:
        playground.choose("InfoLobby")
        playground.page.go_back()
        expect(playground.heading("Pick a provider")).to_be_visible()
        playground.sign_in("InfoLobby")


def test_keyboard_only(open_playground: OpenPlayground) -> None:
    """From the page to the session without a mouse, over the provider's login and its decision."""
    with open_playground() as playground:
        keyboard = playground.page.keyboard
        expect(playground.heading("Pick a provider")).to_be_visible()
        keyboard.press("Tab")
        expect(playground.page.get_by_role("link", name="Skip to the content")).to_be_focused()
        keyboard.press("Tab")
        keyboard.press("ArrowDown")
        expect(playground.page.get_by_role("radio", name="LockitNetwork")).to_be_focused()
        keyboard.press("ArrowUp")
        keyboard.press("Tab")
        keyboard.press("Tab")
        expect(playground.button("Sign in with InfoLobby")).to_be_focused()
        keyboard.press("Enter")
        expect(playground.page.get_by_label("User name")).to_be_visible()
        keyboard.press("Tab")
        expect(playground.page.get_by_label("User name")).to_be_focused()
        keyboard.type("johndoe")
        keyboard.press("Tab")
        keyboard.type("sandbox")
        keyboard.press("Enter")
        expect(playground.heading("Allow access?")).to_be_visible()
        keyboard.press("Tab")
        expect(playground.button("Allow")).to_be_focused()
        keyboard.press("Tab")
        expect(playground.button("Deny")).to_be_focused()
        keyboard.press("Shift+Tab")
        keyboard.press("Space")
        expect(playground.heading("Profile")).to_be_focused()
        for _ in range(2):
            keyboard.press("Tab")
        expect(playground.button("Sign out")).to_be_focused()
        keyboard.press("Enter")
        expect(playground.heading("You are signed out")).to_be_focused()


@pytest.mark.parametrize("javascript", [True, False])
def test_the_brokers_error_page(open_playground: OpenPlayground, javascript: bool) -> None:
    """A redirect address that is not registered is never redirected to; the page says what is wrong."""
    with open_playground(may_log=(REFUSED,)) as playground:
        if javascript:
            playground.make_mistake("A redirect address that is not registered")
            playground.button("Sign in with InfoLobby").press("Enter")
            page = playground.page
        else:
            browser = playground.page.context.browser
            assert browser
            page = browser.new_context(java_script_enabled=False, viewport=PHONE, color_scheme="dark").new_page()
            page.goto(f"{playground.base}/authorize?client_id=playground&redirect_uri=https://elsewhere.example/")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign-in cannot go on")
        expect(page.get_by_role("main")).to_contain_text("redirect_uri")
        expect(page.get_by_role("main")).to_contain_text("invalid_request")
        assert page.locator("html").get_attribute("lang") == "en"
        assert page.locator("script").count() == 0
        page.screenshot(
            path=playground.screenshots / f"error-page-{'desktop-light' if javascript else 'phone-dark'}.png"
        )
        if javascript:
            page.go_back()
            expect(playground.heading("Pick a provider")).to_be_visible()


@pytest.mark.parametrize(
    ("screen", "viewport", "color_scheme"),
    [
        ("desktop", DESKTOP, "light"),
        ("desktop", DESKTOP, "dark"),
        ("tablet", TABLET, "light"),
        ("phone", PHONE, "light"),
        ("phone", PHONE, "dark"),
        ("small-phone", SMALL_PHONE, "dark"),
    ],
)
def test_it_fits_and_is_readable(
    open_playground: OpenPlayground, screen: str, viewport: ViewportSize, color_scheme: ColorScheme
) -> None:
    """Nothing is wider than the screen, and all text has the contrast of WCAG 2.2 level AA; with pictures to look at."""
    with open_playground(viewport, color_scheme, may_log=(REFUSED,)) as playground:
        style = f"{screen}-{color_scheme}"

        def seen(name: str) -> None:
            playground.picture(f"{name}-{style}")
            assert not playground.is_wider_than_screen(), name
            assert playground.page.evaluate(LOW_CONTRAST) == [], name

        expect(playground.heading("Pick a provider")).to_be_visible()
        seen("1-start")
        playground.choose("Redbooth")
        seen("2-login")
        playground.log_in("zoe")
        seen("3-decision")
        playground.press("Deny")
        expect(playground.heading("You chose Deny")).to_be_visible()
        seen("4-denied")
        playground.press("Start again")
        playground.sign_in("Redbooth", "zoe")
        seen("5-session")
        playground.press("Refresh")
        expect(playground.button("Refresh again with the old token")).to_be_enabled()
        playground.press("Refresh again with the old token")
        expect(playground.page.get_by_text("The same successor", exact=True)).to_be_visible()
        playground.page.locator("details").evaluate_all("all => all.forEach(details => { details.open = true })")
        seen("6-everything-open")
        playground.press("Refresh")
        expect(playground.button("Refresh with an older token")).to_be_enabled()
        playground.press("Refresh with an older token")
        expect(playground.heading("This login has ended for everybody")).to_be_visible()
        playground.press("Try the old access token")
        expect(playground.page.locator("#ended-probe")).not_to_be_empty()
        seen("7-reuse")


LOW_CONTRAST = """() => {
  const rgb = text => { const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const linear = value => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour[3] === 1) return colour;
    }
    return [255, 255, 255, 1];
  };
  const low = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    const exempt = node.closest("button:disabled, .unseen, .skip, script, style, noscript");
    if (!texts.currentNode.data.trim() || exempt || !node.getClientRects().length) continue;
    const [one, other] = [rgb(getComputedStyle(node).color), ground(node)].map(luminance);
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) low.push(`${texts.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""
