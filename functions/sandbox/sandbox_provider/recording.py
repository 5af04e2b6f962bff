"""The record of calls, by which tests see how often and in what manner the broker called.

Only kept when SANDBOX_FAULTS=1. It must never hold a code, token or secret: names of parameters only, and SHA-256 where
a test has to tell one code or token from another.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from sandbox_provider.store import digest
from sandbox_provider.wire import EncodingError, Parameters, Request


@dataclass(frozen=True)
class RecordedCall:
    """One call of an endpoint."""

    provider: str
    endpoint: str
    method: str
    grant_type: str
    """As sent; empty when none was."""
    parameters: tuple[str, ...]
    """Names as often as they were sent, sorted."""
    auth: str
    """basic, bearer, body, key, query or none; several are joined by +."""
    status: int
    fault: str
    """The kind of the fault that was met; empty when none was."""
    code_sha256: str
    refresh_token_sha256: str
    access_token_sha256: str
    at: int

    def to_text(self) -> str:
        """A JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, provider: str, endpoint: str, request: Request, status: int, fault: str, now: int) -> RecordedCall:
        """What is kept of a request that was answered with `status`."""
        query, form = _read(request)
        sent = Parameters((*query.pairs, *form.pairs))
        bearer = request.credentials("bearer") or sent.get("access_token") or ""
        return cls(
            provider=provider,
            endpoint=endpoint,
            method=request.method,
            grant_type=sent.get("grant_type") or "",
            parameters=tuple(sorted(sent.names)),
            auth=_auth(request, query, form),
            status=status,
            fault=fault,
            code_sha256=_digest(sent.get("code")),
            refresh_token_sha256=_digest(sent.get("refresh_token")),
            access_token_sha256=_digest(bearer),
            at=now,
        )


def _read(request: Request) -> tuple[Parameters, Parameters]:
    try:
        return request.query, request.form
    except EncodingError:
        return Parameters(), Parameters()


def _digest(value: str | None) -> str:
    return digest(value) if value else ""


def _auth(request: Request, query: Parameters, form: Parameters) -> str:
    secrets_of = {"client_secret", "access_token", "api_key"}
    used = [scheme for scheme in ("basic", "bearer") if request.credentials(scheme) is not None]
    used += ["body"] if secrets_of & set(form.names) else []
    used += ["key"] if "client_assertion" in form.names else []
    used += ["query"] if secrets_of & set(query.names) else []
    return "+".join(used) or "none"
