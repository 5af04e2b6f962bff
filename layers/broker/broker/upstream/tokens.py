"""What a provider gave us: its tokens, as one value that is sealed as a whole.

Must never show a token: `repr` leaves them out, and the JSON form goes nowhere but into the seal.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class UpstreamTokens:
    """A provider's tokens after normalisation.

    expires_at: end of the access token in epoch seconds by our clock, None when the provider does not say.
    scope: what was granted; None when neither the request nor the answer named any.
    kept: values of the redirect or of the token answer that later calls need (`callback.keep`, `token.response.keep`).
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    token_type: str = "Bearer"
    expires_at: int | None = None
    scope: tuple[str, ...] | None = None
    kept: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    id_token: str | None = field(default=None, repr=False)

    def to_json(self) -> str:
        """The compact JSON text that gets sealed. Members without a value are left out, names are short: the item is
        paid by its size.
        """
        members: dict[str, object] = {
            "a": self.access_token,
            "r": self.refresh_token,
            "t": self.token_type if self.token_type != "Bearer" else None,
            "e": self.expires_at,
            "s": list(self.scope) if self.scope is not None else None,
            "k": dict(self.kept) or None,
            "i": self.id_token,
        }
        return json.dumps({name: value for name, value in members.items() if value is not None}, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> "UpstreamTokens":
        """The inverse of `to_json`. Raises ValueError, without the text in it, for anything else."""
        try:
            members = json.loads(text)
            return cls(
                access_token=_text(members["a"]),
                refresh_token=_text(members["r"]) if "r" in members else None,
                token_type=_text(members.get("t", "Bearer")),
                expires_at=int(members["e"]) if "e" in members else None,
                scope=tuple(_text(scope) for scope in members["s"]) if "s" in members else None,
                kept=MappingProxyType({_text(name): _text(value) for name, value in members.get("k", {}).items()}),
                id_token=_text(members["i"]) if "i" in members else None,
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError("not the JSON form of upstream tokens") from None

    def missing_scope(self, asked: Iterable[str]) -> tuple[str, ...]:
        """The asked scopes that were not granted, in the order asked (RFC 6749 section 3.3 lets a provider grant
        less).
        """
        granted = set(self.scope or ())
        return tuple(scope for scope in asked if scope not in granted)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
