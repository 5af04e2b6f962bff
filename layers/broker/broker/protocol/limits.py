"""Rate limits: how many requests of a kind one client or one address may make in a window of time. Arithmetic only.

A limit has a name: `<endpoint>.<by>`, and at the token endpoint `token.<grant_type>.<by>`, so that a login is never blocked by
refreshes. `by` is `client` (one that has proven who it is; one that the operator registered is counted by that alone), or
`address` (and a public client's id together with its address, as anybody can claim that id: counting it alone would let a
stranger use up somebody else's budget). At userinfo and the proxy the access token proves client and `login`. Callbacks count
only if the provider refused their code.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass

FAILURE_COST = 10
"""A refused request of somebody who has proven nothing counts like this many: guessing is what limits are for."""
SAMPLES = 25
"""Writes after which a large limit is reached, on average."""
SAMPLED_FROM = 100
"""Smaller limits are counted exactly."""
MOST_PER_SECOND = 500
"""A counter is one DynamoDB item, which takes 1,000 writes a second; a higher limit could not be counted."""


@dataclass(frozen=True)
class Limit:
    """At most `quota` requests in each window of `window` seconds."""

    quota: int
    window: int

    def start(self, now: int) -> int:
        """When the window that `now` is in began, in epoch seconds."""
        return now - now % self.window

    @property
    def weight(self) -> int:
        """Of so many requests one is written down, at random, and counts for all of them: a write for each would cost more than
        the exactness of a large limit is worth. A limit that is reached after SAMPLES writes is right to about a fifth."""
        return self.quota // SAMPLES if self.quota >= SAMPLED_FROM else 1


DEFAULTS: Mapping[str, Limit] = {
    "token.authorization_code.client": Limit(6000, 60),
    "token.authorization_code.address": Limit(300, 60),
    "token.refresh_token.client": Limit(12000, 60),
    "token.refresh_token.address": Limit(600, 60),
    "token.device_code.client": Limit(6000, 60),
    "token.device_code.address": Limit(300, 60),
    "token.token_exchange.client": Limit(6000, 60),
    "token.token_exchange.address": Limit(600, 60),
    "token.other.client": Limit(1200, 60),
    "token.other.address": Limit(120, 60),
    "introspect.client": Limit(30000, 60),
    "introspect.address": Limit(6000, 60),
    "revoke.client": Limit(6000, 60),
    "revoke.address": Limit(300, 60),
    "par.client": Limit(6000, 60),
    "par.address": Limit(300, 60),
    "device_authorization.client": Limit(600, 60),
    "device_authorization.address": Limit(60, 60),
    "register.address": Limit(60, 3600),
    "callback.address": Limit(60, 60),
    "client_document.address": Limit(60, 60),
    "client_document.host": Limit(60, 60),
    "userinfo.client": Limit(12000, 60),
    "userinfo.login": Limit(600, 60),
    "proxy.client": Limit(12000, 60),
    "proxy.login": Limit(600, 60),
}

_RULE = re.compile(r"([a-z_]+(?:\.[a-z_]+)+)=([0-9]{1,9})/([0-9]{1,5})")


def parse_limits(text: str) -> Mapping[str, Limit]:
    """The limits of a deployment: the defaults, changed by `text`; "off" for none.

    `text`: `name=quota/seconds` separated by commas, for example "register.address=10/3600,par.client=60/60".
    Errors: ValueError that names the entry and the rule.
    """
    if text.strip() == "off":
        return {}
    limits = dict(DEFAULTS)
    for entry in filter(None, (part.strip() for part in text.split(","))):
        rule = _RULE.fullmatch(entry)
        if rule is None or rule[1] not in DEFAULTS:
            raise ValueError(
                f"rate limit {entry!r}: write name=quota/seconds with one of the names {', '.join(DEFAULTS)}"
            )
        quota, window = int(rule[2]), int(rule[3])
        if not 1 <= window <= 86400 or not 1 <= quota <= MOST_PER_SECOND * window:
            raise ValueError(
                f"rate limit {entry!r}: 1 to 86400 seconds, and 1 to {MOST_PER_SECOND} requests per second"
            )
        limits[rule[1]] = Limit(quota, window)
    return limits


def address_key(address: str) -> str:
    """What an address is counted as: an IPv6 host has a whole /64 to itself."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def header_fields(name: str, limit: Limit, used: int, now: int) -> dict[str, str]:
    """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers) for one limit."""
    remaining, reset = max(0, limit.quota - used), limit.start(now) + limit.window - now
    return {
        "ratelimit-policy": f'"{name}";q={limit.quota};w={limit.window}',
        "ratelimit": f'"{name}";r={remaining};t={reset}',
    }
