"""What a warm request costs: CPU time of the handler and round trips, by endpoint.

    make bench

The broker runs as `make run` does. Time is that of the handler's thread and of those that it starts, so neither moto nor the
sandbox, which run in other threads, nor waiting for them is in it: they are services at zero latency. What the handler itself
spends on talking to them (botocore, sockets) is in it, TLS is not. Figures are medians, and in multiples of the request for the
metadata document in the same run, because milliseconds say as much of the machine as of the program.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import requests

from broker import clock, invocation
from broker.protocol.token_exchange import ACCESS_TOKEN_TYPE, GRANT_TYPE
from broker.runtime import runtime
from broker.store import aws as store
from broker.upstream.http import BoundedHttp
from broker_local import lambdas
from broker_local.server import LocalBroker
from broker_testing import proxy
from broker_testing.journey import Login, TestClient, change, post_form, refresh, register, revoke, userinfo
from sandbox_provider import clock as sandbox_clock

PROVIDER = "oidc"
"""With discovery, userinfo, an ID token and a rotating refresh token: the dearest of the sandbox's."""
DUE = 280
"""Seconds after which this provider's access token is to be renewed."""
BASELINE = "metadata"


@dataclass
class Requests:
    """One entry for each request: milliseconds of the handler's threads, calls of AWS, calls of the provider."""

    cpu: list[float] = field(default_factory=list)
    aws: list[int] = field(default_factory=list)
    upstream: list[int] = field(default_factory=list)


class Watch:
    """Sees every handler, every request to AWS and every call of a provider of this process."""

    def __init__(self) -> None:
        self.cpu = 0.0
        self.aws = self.upstream = 0
        self.found: dict[str, Requests] = {}
        for service in ("dynamodb", "secretsmanager"):
            store.client(service).meta.events.register("before-send", self._sent)
        self._watch_handlers()
        self._watch_provider()

    def _sent(self, **_details: object) -> None:
        self.aws += 1

    def _watch_handlers(self) -> None:
        invoke = lambdas.LoadedFunction.invoke

        def timed(loaded: lambdas.LoadedFunction, event: dict[str, Any]) -> object:
            if loaded.function.folder == "sandbox":
                return invoke(loaded, event)
            began = time.thread_time()
            answer = invoke(loaded, event)
            self.cpu += (time.thread_time() - began) * 1000
            return answer

        lambdas.LoadedFunction.invoke = timed  # type: ignore[method-assign, assignment]
        start_thread = invocation.start_thread

        def started(action: Callable[[], None]) -> None:
            def counted() -> None:
                began = time.thread_time()
                action()
                self.cpu += (time.thread_time() - began) * 1000

            start_thread(counted)

        invocation.start_thread = started

    def _watch_provider(self) -> None:
        send = BoundedHttp.send

        def counted(http: BoundedHttp, *arguments: Any, **named: Any) -> Any:
            self.upstream += 1
            return send(http, *arguments, **named)

        BoundedHttp.send = counted  # type: ignore[method-assign, assignment]

    def of(self, name: str, act: Callable[[], requests.Response], status: int) -> requests.Response:
        """The answer of one request, whose cost is kept under `name`. Errors: RuntimeError for another status."""
        self.cpu, self.aws, self.upstream = 0.0, 0, 0
        answer = act()
        if answer.status_code != status:
            raise RuntimeError(f"{name} was answered with {answer.status_code}")
        kept = self.found.setdefault(name, Requests())
        kept.cpu.append(self.cpu)
        kept.aws.append(self.aws)
        kept.upstream.append(self.upstream)
        return answer


def measure(broker: LocalBroker, runs: int) -> dict[str, Requests]:
    """Every endpoint so many times, warm: a run that is not counted has filled what an instance under load remembers."""
    client = register(broker.url, **proxy.EXCHANGING | {"providers": (PROVIDER, proxy.PROVIDER)}, secret=True)
    client = change(client, token_exchange=(PROVIDER,), proxy=(proxy.PROVIDER,))
    runtime().brand()
    watch = Watch()
    for _ in range(2):
        _one_run(watch, client)
        _one_call(watch, client)
    watch.found.clear()
    for _ in range(runs):
        _one_run(watch, client)
        _one_call(watch, client)
    return watch.found


def _one_run(watch: Watch, client: TestClient) -> None:
    """A login with everything that may follow it."""
    base = client.base
    watch.of(BASELINE, partial(requests.get, f"{base}/.well-known/oauth-authorization-server", timeout=30), 200)
    login = Login(client, PROVIDER)
    started = watch.of("authorize", login.start, 303)
    returned = login.at_provider(started)
    login.read_answer(watch.of("callback", partial(login.browser.get, returned), 303))
    tokens = watch.of("token (code)", login.redeem, 200).json()
    watch.of("userinfo", partial(userinfo, base, tokens["access_token"]), 200)
    renewed = watch.of("token (refresh)", partial(refresh, client, tokens["refresh_token"]), 200).json()
    exchange = {
        "grant_type": GRANT_TYPE,
        "subject_token": renewed["access_token"],
        "subject_token_type": ACCESS_TOKEN_TYPE,
        "audience": PROVIDER,
    }
    watch.of("token exchange", partial(post_form, f"{base}/token", exchange | client.credentials()), 200)
    asked = {"token": renewed["access_token"]} | client.credentials()
    told = watch.of("introspect", partial(post_form, f"{base}/introspect", asked), 200).json()
    if not told["active"]:
        raise RuntimeError("the token that was introspected is not active")
    clock.offset = sandbox_clock.offset = DUE
    due = watch.of("refresh, renewed upstream", partial(refresh, client, renewed["refresh_token"]), 200).json()
    clock.offset = sandbox_clock.offset = 0
    watch.of("revoke", partial(revoke, client, due["refresh_token"]), 200)


def _one_call(watch: Watch, client: TestClient) -> None:
    """A call through the proxy."""
    token = Login(client, proxy.PROVIDER).tokens()["access_token"]
    watch.of("proxy", partial(proxy.call, client, token, "echo"), 200)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    arguments = parser.parse_args()
    environment = {"BROKER_RATE_LIMITS": "off"}
    with LocalBroker(seed=True, environment=environment) as broker, proxy.provider_with(api_allow=list(proxy.ALLOWED)):
        found = measure(broker, arguments.runs)
    one = median(found[BASELINE].cpu)
    say = sys.stdout.write
    say(f"{'request':28}{'CPU ms':>8}{'least':>8}{'x metadata':>12}{'AWS':>6}{'provider':>10}\n")
    for name, each in found.items():
        middle = median(each.cpu)
        trips = f"{median(each.aws):6.0f}{median(each.upstream):10.0f}"
        say(f"{name:28}{middle:8.2f}{min(each.cpu):8.2f}{middle / one:12.1f}{trips}\n")


if __name__ == "__main__":
    main()
