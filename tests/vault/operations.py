"""The operations whose crash points are tried, each at the strict provider, whose refresh token works once and ends the grant
when it comes again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
import requests

from broker.crypto import handles
from broker.runtime import runtime
from broker.store.aws import StoreUnavailable
from broker.store.links import Link, Links
from broker_testing.crashes import Snapshot
from broker_testing.device import GRANT_TYPE as DEVICE_GRANT
from broker_testing.device import Device, Person
from broker_testing.journey import Login, refresh, register, revoke, userinfo
from broker_testing.proxy import EXCHANGING
from broker_testing.proxy import exchange as exchange_token
from broker_testing.trouble import pass_time

PROVIDER = "openid"
LIFETIME = 300
"""Seconds, of the provider's access tokens."""
AFTER_LEASE = 9
"""Seconds after which a lease has run out."""

Act = Callable[[], requests.Response]
Proof = Callable[[requests.Response], None]


@dataclass(frozen=True)
class Prepared:
    """A request that stands ready: `act` sends it, as often as one likes. `prove` shows that its answer is worth something,
    and that the provider's grant lives."""

    act: Act
    is_done: Callable[[requests.Response], bool]
    prove: Proof
    offset: float = 0.0
    at: float = field(default_factory=time.time)
    snapshot: Snapshot = field(default_factory=Snapshot.take, repr=False)


def callback(base: str) -> Prepared:
    """The browser comes back from the provider."""
    login = Login(register(base, providers=(PROVIDER,)), PROVIDER)
    url = login.callback_url()
    cookies = {str(cookie.name): str(cookie.value) for cookie in login.browser.session.cookies}

    def act() -> requests.Response:
        return requests.get(url, cookies=cookies, allow_redirects=False, timeout=30)

    def prove(response: requests.Response) -> None:
        login.read_answer(response)
        _goes_on(login, login.redeem())

    return Prepared(act, lambda response: "code=" in response.headers.get("location", ""), prove)


def code(base: str) -> Prepared:
    """The client redeems the code."""
    login = Login(register(base, providers=(PROVIDER,)), PROVIDER)
    login.run()
    return Prepared(login.redeem, _is_200, partial(_goes_on, login))


def device(base: str) -> Prepared:
    """The poll by which a device gets its tokens."""
    login = Login(register(base, providers=(PROVIDER,), grant_types=(DEVICE_GRANT, "refresh_token")), PROVIDER)
    waiting = Device(login.client).begin(provider=PROVIDER)
    assert Person(base).approve(waiting.user_code).status_code == 200
    return Prepared(waiting.poll, _is_200, partial(_goes_on, login))


def refresh_plain(base: str) -> Prepared:
    """A refresh while the provider's token is good."""
    login, tokens = _logged_in(base)
    return Prepared(partial(refresh, login.client, tokens["refresh_token"]), _is_200, partial(_goes_on, login))


def refresh_strict(base: str) -> Prepared:
    """The same for a client that wants no retry window."""
    login, tokens = _logged_in(base, retry_window=0)
    return Prepared(partial(refresh, login.client, tokens["refresh_token"]), _is_200, partial(_goes_on, login))


def refresh_renewing(base: str) -> Prepared:
    """A refresh for which the provider's token has to be renewed first."""
    login, tokens = _logged_in(base)
    act = partial(refresh, login.client, tokens["refresh_token"])
    return Prepared(act, _is_200, partial(_goes_on, login), offset=LIFETIME + 5)


def refresh_recovering(base: str) -> Prepared:
    """The same after an instance could not write the provider's new token and put it into the rescue queue."""
    login, tokens = _logged_in(base)
    pass_time(LIFETIME + 5)
    with no_link_written():
        assert userinfo(base, tokens["access_token"]).status_code == 200
    act = partial(refresh, login.client, tokens["refresh_token"])
    return Prepared(act, _is_200, partial(_goes_on, login), offset=LIFETIME + 5 + AFTER_LEASE)


def refresh_taking_over(base: str) -> Prepared:
    """The same after an instance has died before it asked the provider."""
    login, tokens = _logged_in(base)
    handle = handles.read(handles.Kind.REFRESH, tokens["refresh_token"], runtime().keys.ring())
    assert handle is not None
    link = runtime().grants.links.read(handle.grant_id)
    assert link is not None
    pass_time(LIFETIME + 5)
    runtime().grants.links.take_lease(link, "of one who has died", runtime().settings.lease)
    act = partial(refresh, login.client, tokens["refresh_token"])
    return Prepared(act, _is_200, partial(_goes_on, login), offset=LIFETIME + 5 + AFTER_LEASE)


def userinfo_plain(base: str) -> Prepared:
    """Userinfo while the provider's token is good."""
    login, tokens = _logged_in(base)
    prove = partial(_still_goes_on, login, tokens["refresh_token"])
    return Prepared(partial(userinfo, base, tokens["access_token"]), _is_200, prove)


def userinfo_renewing(base: str) -> Prepared:
    """Userinfo for which the provider's token has to be renewed first."""
    login, tokens = _logged_in(base)
    prove = partial(_still_goes_on, login, tokens["refresh_token"])
    return Prepared(partial(userinfo, base, tokens["access_token"]), _is_200, prove, offset=LIFETIME + 5)


def exchange(base: str) -> Prepared:
    """Token exchange for which the provider's token has to be renewed first."""
    login, tokens = _logged_in(base, token_exchange=(PROVIDER,), grant_types=EXCHANGING["grant_types"])
    prove = partial(_still_goes_on, login, tokens["refresh_token"])
    act = partial(exchange_token, login.client, tokens["access_token"], audience=PROVIDER)
    return Prepared(act, _is_200, prove, offset=LIFETIME + 5)


def revocation(base: str) -> Prepared:
    """The client signs the person out."""
    login, tokens = _logged_in(base)

    def prove(_response: requests.Response) -> None:
        refused = refresh(login.client, tokens["refresh_token"])
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")
        assert userinfo(base, tokens["access_token"]).status_code == 401

    return Prepared(partial(revoke, login.client, tokens["refresh_token"]), _is_200, prove)


def _is_200(response: requests.Response) -> bool:
    return response.status_code == 200


def _logged_in(base: str, **attributes: Any) -> tuple[Login, dict[str, Any]]:
    login = Login(register(base, providers=(PROVIDER,), **attributes), PROVIDER)
    return login, login.tokens()


def _goes_on(login: Login, response: requests.Response) -> None:
    """The tokens work, also after the provider's has been renewed again."""
    assert response.status_code == 200, response.text
    assert userinfo(login.client.base, response.json()["access_token"]).status_code == 200
    _still_goes_on(login, response.json()["refresh_token"])


def _still_goes_on(login: Login, refresh_token: str, _response: object = None) -> None:
    pass_time(LIFETIME + 5)
    renewed = refresh(login.client, refresh_token)
    assert renewed.status_code == 200, renewed.text
    assert userinfo(login.client.base, renewed.json()["access_token"]).status_code == 200


@contextmanager
def no_link_written() -> Iterator[None]:
    """The table refuses every new token of a provider, and nothing else."""

    def refuse(_links: Links, _link: Link) -> None:
        raise StoreUnavailable("ordered by a test")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Links, "write", refuse)
        yield


OPERATIONS: dict[str, Callable[[str], Prepared]] = {
    "callback": callback,
    "code": code,
    "device": device,
    "refresh": refresh_plain,
    "refresh, without a retry window": refresh_strict,
    "refresh, renewing": refresh_renewing,
    "refresh, recovering": refresh_recovering,
    "refresh, taking over": refresh_taking_over,
    "userinfo": userinfo_plain,
    "userinfo, renewing": userinfo_renewing,
    "token exchange, renewing": exchange,
    "revocation": revocation,
}
"""By their names in docs/crash-points.md."""
