"""What the operator decides at deployment, read once from the environment.

Holds names and limits only, never a secret: secrets are read from Secrets Manager where they are used.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Deployment settings. All durations are seconds.

    Attributes:
        issuer: issuer URL without a trailing slash; empty when it is derived from the API's own id.
        region: AWS Region, part of the derived issuer.
        url_suffix: what AWS's host names end in, also part of it; another one in China, for instance.
        registry_table, grants_table: names of the two DynamoDB tables.
        keys_secret: Secrets Manager id of the key document.
        provider_secret_prefix: prefix of the Secrets Manager names of the providers' credentials.
        rescue_queue: URL of the SQS queue for refreshed tokens that the table did not take; empty = none.
        local: local mode. Allows an http://localhost issuer and http upstreams on the loopback interface.
        registry_cache: how long a client or provider read from the Registry may be used.
        login_lifetime: from the authorization request to the provider's answer.
        exchange_lifetime: from the provider's answer to the end of the upstream exchange.
        pushed_lifetime: of a pushed authorization request (RFC 9126 section 2.2).
        device_lifetime: of a device code and its user code (RFC 8628 section 3.2).
        device_interval: what a device waits between two polls.
        consent_lifetime: how long a person may look at the consent page.
        consent_memory: how long his answer counts for the same client and scope.
        code_lifetime: of an authorization code (RFC 6749 section 4.1.2 allows 600 at most).
        access_token_lifetime: of an access token and an ID token, unless the client says otherwise.
        idle_lifetime: of a refresh token that is not used.
        absolute_lifetime: of a login, however often it is refreshed.
        retry_window: how long the predecessor of a refresh token gets the same successor; 0 is strict OAuth 2.1.
        code_attempts: attempts with a wrong verifier, redirect_uri or DPoP key that use a code up.
        assertion_lifetime: how far ahead the end of a client assertion may be (private_key_jwt).
        dpop_nonce_required: DPoP proofs must have a nonce of the server (RFC 9449 section 8).
        event_bus: name of the EventBridge bus for events about links; empty = no events.
        rate_limits: changes to the default rate limits (broker.protocol.limits.parse_limits), or "off".
        upstream_deadline: total time of the calls to a provider within one request.
        proxy_deadline: the same for a call of its API through the proxy.
        lease: how long the right to refresh an upstream token lasts when its holder does not prolong it, as he does while
            the provider is being asked: what others wait for one who has died.
    """

    issuer: str = ""
    region: str = "us-east-1"
    url_suffix: str = "amazonaws.com"
    registry_table: str = ""
    grants_table: str = ""
    keys_secret: str = ""
    provider_secret_prefix: str = ""
    rescue_queue: str = ""
    local: bool = False
    registry_cache: int = 60
    login_lifetime: int = 600
    exchange_lifetime: int = 60
    pushed_lifetime: int = 90
    device_lifetime: int = 600
    device_interval: int = 5
    consent_lifetime: int = 600
    consent_memory: int = 365 * 86400
    code_lifetime: int = 60
    access_token_lifetime: int = 600
    idle_lifetime: int = 14 * 86400
    absolute_lifetime: int = 90 * 86400
    retry_window: int = 30
    code_attempts: int = 5
    assertion_lifetime: int = 300
    dpop_nonce_required: bool = True
    event_bus: str = ""
    rate_limits: str = ""
    upstream_deadline: float = 10.0
    proxy_deadline: float = 15.0
    lease: float = 8.0

    @property
    def api_domain(self) -> str:
        """What stands after an HTTP API's id in its own host name."""
        return f"execute-api.{self.region}.{self.url_suffix}"


LIMITS: Mapping[str, tuple[int, int]] = {
    "registry_cache": (0, 300),
    "login_lifetime": (60, 3600),
    "pushed_lifetime": (10, 600),
    "device_lifetime": (120, 1800),
    "device_interval": (1, 60),
    "consent_memory": (0, 400 * 86400),
    "code_lifetime": (10, 600),
    "access_token_lifetime": (60, 86400),
    "idle_lifetime": (600, 400 * 86400),
    "absolute_lifetime": (600, 400 * 86400),
    "retry_window": (0, 60),
    "assertion_lifetime": (60, 3600),
}
"""Smallest and largest value of each number that the environment may set."""


def from_environment(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Errors: ValueError naming the variable and the rule, when a number is out of its limits.
    """
    numbers: dict[str, int] = {}
    for name, (low, high) in LIMITS.items():
        variable = f"BROKER_{name.upper()}"
        text = environ.get(variable, "")
        if not text:
            continue
        if not text.isdigit() or not low <= int(text) <= high:
            raise ValueError(f"{variable} must be a whole number of seconds from {low} to {high}")
        numbers[name] = int(text)
    return Settings(
        issuer=environ.get("BROKER_ISSUER", "").rstrip("/"),
        region=environ.get("AWS_REGION", "us-east-1"),
        url_suffix=environ.get("BROKER_URL_SUFFIX") or "amazonaws.com",
        registry_table=environ.get("BROKER_REGISTRY_TABLE", ""),
        grants_table=environ.get("BROKER_GRANTS_TABLE", ""),
        keys_secret=environ.get("BROKER_KEYS_SECRET", ""),
        provider_secret_prefix=environ.get("BROKER_PROVIDER_SECRET_PREFIX", ""),
        rescue_queue=environ.get("BROKER_RESCUE_QUEUE", ""),
        local=environ.get("BROKER_LOCAL", "") == "1",
        dpop_nonce_required=_dpop_nonce(environ.get("BROKER_DPOP_NONCE", "")),
        event_bus=environ.get("BROKER_EVENT_BUS", ""),
        rate_limits=environ.get("BROKER_RATE_LIMITS", ""),
        **numbers,
    )


def _dpop_nonce(text: str) -> bool:
    if text not in ("", "required", "optional"):
        raise ValueError("BROKER_DPOP_NONCE must be required or optional")
    return text != "optional"
