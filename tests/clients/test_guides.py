"""Applications that were written for the five guides, word for word: only host and credentials are changed."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import requests

from broker_testing.journey import CALLBACK, Login, TestClient, register
from broker_testing.ports import free_port

GUIDES = Path(__file__).parent / "guides"
TIMEOUT = 30


def application(base: str, dialect: str, **attributes: Any) -> TestClient:
    """A confidential client that may speak a dialect."""
    return register(base, **({"secret": True, "providers": (dialect,), "dialect": dialect} | attributes))


def sent_back(client: TestClient, url: str, *, username: str = "johndoe", decision: str = "allow") -> str:
    """A person opens an authorization URL and decides: where the browser ends up at the application."""
    login = Login(client)
    back = login.browser.get(login.at_provider(login.browser.get(url), username=username, decision=decision))
    assert back.status_code == 303, (back.status_code, back.text)
    return back.headers["location"]


def answer_in(location: str) -> dict[str, str]:
    """The parameters that the application gets, each of them once."""
    pairs = parse_qsl(urlsplit(location).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def sample(name: str, changes: dict[str, str]) -> str:
    """A guide's sample with its placeholders filled in."""
    text = (GUIDES / name).read_text("utf-8")
    for placeholder, value in changes.items():
        assert placeholder in text, placeholder
        text = text.replace(placeholder, value)
    return text


def run(command: str) -> str:
    """What a command of a guide prints."""
    return subprocess.run(
        shlex.split(command.replace("\\\n", " ")), capture_output=True, text=True, timeout=TIMEOUT, check=True
    ).stdout


# -- the PHP style API -------------------------------------------------------------------------------------------------


def php_placeholders(client: TestClient) -> dict[str, str]:
    return {
        "https://example.com": client.base,
        "YOUR_CLIENT_ID": client.client_id,
        "YOUR_CLIENT_SECRET": str(client.secret),
        "YOUR_REDIRECT_URI": client.redirect_uri,
    }


def php_with_curl() -> bool:
    """Whether PHP is installed, with what the sample calls."""
    asks = ["php", "-r", "exit((int) !extension_loaded('curl'));"]
    return shutil.which("php") is not None and subprocess.run(asks, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not php_with_curl(), reason="PHP with curl is not installed; the same requests are replayed below")
def test_the_php_sample(base: str, tmp_path: Path) -> None:
    with php_server(tmp_path) as application_url:
        client = application(base, "phpapi", redirect_uris=(f"{application_url}/callback.php",))
        login_page, callback_page = sample("phpapi.php", php_placeholders(client)).split("// Step 2:", 1)
        (tmp_path / "login.php").write_text(login_page)
        (tmp_path / "callback.php").write_text(f"<?php\n// Step 2:{callback_page}")
        begun = requests.get(f"{application_url}/login.php", allow_redirects=False, timeout=TIMEOUT)
        assert begun.status_code == 302
        welcome = requests.get(sent_back(client, begun.headers["location"]), timeout=TIMEOUT)
        assert welcome.text.strip() == "Hello, johndoe"


@contextmanager
def php_server(folder: Path) -> Iterator[str]:
    """PHP's own web server over a folder; its URL."""
    port = free_port()
    command = ["php", "-S", f"127.0.0.1:{port}", "-t", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not _accepts(port):
            assert process.poll() is None and time.monotonic() < deadline, "PHP's server did not start"
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(TIMEOUT)


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=0.2).close()
    except OSError:
        return False
    return True


def test_the_requests_of_the_php_sample(base: str) -> None:
    """What http_build_query and curl send, for machines without PHP."""
    client = application(base, "phpapi")
    asked = {"client_id": client.client_id, "redirect_uri": client.redirect_uri, "response_type": "code"}
    answer = answer_in(sent_back(client, f"{base}/api/authorize.php?{urlencode(asked)}"))
    assert set(answer) == {"code", "iss"}
    form = {"code": answer["code"], "client_id": client.client_id, "client_secret": str(client.secret)}
    tokens = requests.post(f"{base}/api/token.php", data=form, timeout=TIMEOUT)
    assert tokens.status_code == 200, tokens.text
    assert set(tokens.json()) == {"access_token", "token_type", "expires_in"}
    # Not past the end of the provider's own token, which was issued a moment before.
    assert 3570 <= tokens.json()["expires_in"] <= 3600
    headers = {"Authorization": f"Bearer {tokens.json()['access_token']}"}
    profile = requests.get(f"{base}/api/userinfo.php", headers=headers, timeout=TIMEOUT)
    assert profile.json() == {"username": "johndoe", "email": "john@example.com", "full_name": "John Doe"}
    again = requests.post(f"{base}/api/token.php", data=form, timeout=TIMEOUT)
    assert (again.status_code, again.json()["error"]) == (400, "invalid_code")


def test_the_flask_sample(base: str) -> None:
    """It does not encode its redirect URI, whatever is in that."""
    client = application(base, "phpapi", redirect_uris=("https://app.example/callback?from=a%20b&step=2",))
    text = sample("phpapi-flask.txt", php_placeholders(client))
    module: dict[str, Any] = {"__name__": "sample"}
    exec(compile(text, "phpapi-flask.txt", "exec"), module)  # noqa: S102 - the guide's own text
    browser = module["app"].test_client()
    begun = browser.get("/login")
    assert begun.status_code == 302
    location = sent_back(client, begun.headers["location"])
    assert location.startswith(f"{client.redirect_uri}&code=")
    assert browser.get("/callback").status_code == 400
    done = browser.get(f"/callback?{urlsplit(location).query}")
    assert (done.status_code, done.headers["location"]) == (302, "/profile")
    assert browser.get("/profile").text == "Hello, johndoe! Your email is john@example.com"


BROWSER = """
const base = process.argv[2], secret = process.argv[3], search = process.argv[4];
const realFetch = fetch;
globalThis.window = { location: { href: '', search } };
globalThis.fetch = async (url, options) => {
  if (url !== '/your-backend-endpoint') {
    return realFetch(url, { ...options, headers: { ...options.headers, origin: 'https://app.example' } });
  }
  const { code } = JSON.parse(options.body);
  const form = new URLSearchParams({ code, client_id: process.argv[5], client_secret: secret });
  return realFetch(base + '/api/token.php', { method: 'POST', body: form });
};
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_browser_sample(base: str, tmp_path: Path) -> None:
    """Its backend is the application's own; the profile it reads itself, from the page's origin."""
    client = application(base, "phpapi")
    changes = {key: value for key, value in php_placeholders(client).items() if key != "YOUR_CLIENT_SECRET"}
    script = tmp_path / "sample.js"
    script.write_text(
        BROWSER
        + sample("phpapi.js", changes)
        + "search ? handleRedirect() : (authorize(), console.log(window.location.href))"
    )

    def page(search: str) -> str:
        command = ["node", str(script), base, str(client.secret), search, client.client_id]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout

    location = sent_back(client, page("").strip())
    assert "username: 'johndoe'" in page(f"?{urlsplit(location).query}")
    asked = {
        "origin": "https://app.example",
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }
    preflight = requests.options(f"{base}/api/userinfo.php", headers=asked, timeout=TIMEOUT)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in preflight.headers["access-control-allow-headers"].split(", ")
    assert "access-control-allow-credentials" not in preflight.headers
    refused = requests.get(f"{base}/api/userinfo.php", headers={"origin": "https://app.example"}, timeout=TIMEOUT)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")


# -- LockitNetwork -----------------------------------------------------------------------------------------------------


def test_the_curl_sample_of_lockitnetwork(base: str) -> None:
    client = application(base, "lockitnetwork")
    encoded = quote(client.redirect_uri, safe="")
    host = {"https://api.lockitnetwork.com": base, "example-client&": f"{client.client_id}&"}
    url = sample("lockitnetwork.url", host | {"https%3A%2F%2Fexample-client.com%2Fauth_code": encoded}).strip()
    answer = answer_in(sent_back(client, url))
    assert answer["state"] == "example-state"
    changes = {
        "https://api.lockitnetwork.com": base,
        "https://example-client.com/auth_code": client.redirect_uri,
        "example-client:top-secret": f"{client.client_id}:{client.secret}",
        "example-auth-code": answer["code"],
    }
    head, _, body = run(sample("lockitnetwork.sh", changes)).replace("\r\n", "\n").partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    tokens = json.loads(body)
    assert set(tokens) == {"access_token", "refresh_token", "token_type", "expires_in"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", 604800)
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    basic = (client.client_id, str(client.secret))
    renewed = requests.post(f"{base}/oauth/access-token", data=form, auth=basic, timeout=TIMEOUT)
    assert set(renewed.json()) == set(tokens), renewed.text
    in_body = requests.post(f"{base}/oauth/access-token", data=form | client.credentials(), timeout=TIMEOUT)
    assert (in_body.status_code, in_body.json()["error"]) == (401, "invalid_client"), "the guide knows Basic alone"


# -- Redbooth ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_curl_samples_of_redbooth(base: str, method: str) -> None:
    """The redirect URI's query is the application's own affair, and the request may be a form."""
    client = application(base, "redbooth")
    redirect_uri = f"{client.redirect_uri}?state=ignored-by-redbooth".replace("state", "mine")
    asked = {"response_type": "code", "client_id": client.client_id, "redirect_uri": redirect_uri}
    url = f"{base}/oauth2/authorize"
    login = Login(client)
    begun = login.browser.get(f"{url}?{urlencode(asked)}") if method == "GET" else login.browser.post(url, asked)
    location = login.browser.get(login.at_provider(begun)).headers["location"]
    assert location.startswith(f"{redirect_uri}&code=")
    credentials = {"APPLICATION_ID": client.client_id, "SECRET": str(client.secret)}
    first, second = (GUIDES / "redbooth.sh").read_text().splitlines()
    for placeholder, value in (credentials | {"THE_CODE_YOU_GOT_FROM_REDBOOTH": answer_in(location)["code"]}).items():
        first = first.replace(placeholder, value)
    tokens = json.loads(
        run(f"{first[:-1]}redirect_uri={quote(redirect_uri, safe='')}' {url.replace('authorize', 'token')}")
    )
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at"}
    assert tokens["expires_in"] == 7200
    for placeholder, value in ({"REFRESH_TOKEN": tokens["refresh_token"]} | credentials).items():
        second = second.replace(placeholder, value)
    renewed = json.loads(run(f"{second} {base}/oauth2/token"))
    assert set(renewed) == set(tokens)
    assert renewed["refresh_token"] != tokens["refresh_token"]
    expected = {
        "type": "User",
        "id": 1001,
        "first_name": "John",
        "last_name": "Doe",
        "email": "john@example.com",
        "username": "johndoe",
    }
    for arguments in (
        {"headers": {"Authorization": f"Bearer {renewed['access_token']}"}},
        {"params": {"access_token": renewed["access_token"], "format": "json"}},
    ):
        profile: requests.Response = requests.get(f"{base}/api/3/me", timeout=TIMEOUT, **arguments)
        assert profile.json() == expected


def test_deny_at_redbooth(base: str) -> None:
    client = application(base, "redbooth")
    asked = {"response_type": "code", "client_id": client.client_id, "redirect_uri": client.redirect_uri}
    answer = answer_in(sent_back(client, f"{base}/oauth2/authorize?{urlencode(asked)}", decision="deny"))
    assert answer["error"] == "access_denied"
    assert answer["error_description"]


# -- InfoLobby ---------------------------------------------------------------------------------------------------------


def test_the_steps_of_infolobby(base: str) -> None:
    client = application(base, "infolobby")
    asked = {
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "response_type": "code",
        "state": "optional random string",
    }
    answer = answer_in(sent_back(client, f"{base}/api/oauth/authorize?{urlencode(asked)}", username="johnsmith"))
    assert answer["state"] == "optional random string"
    form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": client.redirect_uri}
    tokens = requests.post(f"{base}/api/oauth/token", data=form | client.credentials(), timeout=TIMEOUT).json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token"}
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    renewed = requests.post(f"{base}/api/oauth/token", data=form | client.credentials(), timeout=TIMEOUT).json()
    headers = {"Authorization": f"Bearer {renewed['access_token']}"}
    profile = requests.get(f"{base}/api/oauth/profile", headers=headers, timeout=TIMEOUT)
    assert profile.json() == {
        "userId": 123,
        "username": "John Smith",
        "emailAddress": None,
        "timezone": "America/New_York",
        "locale": "en-US",
    }


# -- Iternio -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/1/oauth/token", "/oauth/token"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_iternio_as_the_guide_and_as_evnotify(base: str, method: str, path: str) -> None:
    """The client id is a number; no response_type, no grant_type, no redirect_uri at the token endpoint; tokens by GET."""
    number = str(time.time_ns())
    client = application(
        base, "iternio", client_id=number, token_by_get=method == "GET", redirect_uris=(f"{CALLBACK}/user/7",)
    )
    asked = {"client_id": number, "redirect_uri": client.redirect_uri}
    answer = answer_in(sent_back(client, f"{base}/oauth/auth?{urlencode(asked)}"))
    assert answer["auth_code"] == answer["code"]
    assert "state" not in answer
    form = {"code": answer["code"]} | client.credentials()
    sent: dict[str, Any] = {"params": form} if method == "GET" else {"data": form}
    response = requests.request(method, base + path, timeout=TIMEOUT, **sent)
    assert response.status_code == 200, response.text
    tokens = response.json()
    assert set(tokens) == {"user_token", "access_token", "token_type"}
    assert tokens["user_token"] == tokens["access_token"]
    query = {"api_key": str(client.secret), "access_token": tokens["user_token"]}
    profile = requests.get(f"{base}/1/oauth/me", params=query, timeout=TIMEOUT)
    assert profile.json() == {"status": "ok", "user_id": 1001, "full_name": "John Doe", "email": "john@example.com"}


def test_iternio_repeats_the_state_and_knows_scopes_with_commas(base: str) -> None:
    scope = ("openid", "profile", "email", "get_telemetry", "get_plan")
    client = application(base, "iternio", scope=scope)
    asked = {
        "client_id": client.client_id,
        "redirect_uri": client.redirect_uri,
        "response_type": "code",
        "state": 'a b&c=d%20+é"',
        "scope": "get_telemetry,get_plan",
        "typecode": "any",
    }
    answer = answer_in(sent_back(client, f"{base}/oauth/auth?{urlencode(asked)}"))
    assert answer["state"] == asked["state"]
    form = {"grant_type": "authorization_code", "code": answer["auth_code"], "redirect_uri": client.redirect_uri}
    tokens = requests.post(f"{base}/1/oauth/token", data=form | client.credentials(), timeout=TIMEOUT).json()
    assert tokens["state"] == asked["state"]
