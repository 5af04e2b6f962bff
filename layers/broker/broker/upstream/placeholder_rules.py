"""Where which placeholder may stand in a provider's file: no secret in a URL, no open door to foreign hosts, nothing unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from broker.upstream.provider import Provider, Variable
from broker.upstream.reader import ProviderFileError
from broker.upstream.templates import TemplateError, fill_url, host_is_open, placeholders

RESERVED = frozenset({"client_id", "client_secret", "access_token", "refresh_token", "code", "state"})
"""Names that the broker fills by itself; no variable can have one."""

# No pattern that tells hosts apart matches this one.
_FOREIGN_HOST = "attacker.invalid"


def check_placeholders(provider: Provider, source: str) -> None:
    """Hold every placeholder of a provider against the rules. Raises ProviderFileError."""
    _Placeholders(provider, source).check()


@dataclass(frozen=True)
class _Use:
    """One text with placeholders: where it stands, and which names may fill it."""

    field: str
    text: str
    allowed: frozenset[str]
    is_url: bool = False


@dataclass(frozen=True)
class _Placeholders:
    """The check of every placeholder: declared, allowed where it stands, matched by a pattern, and no open door to
    foreign hosts.
    """

    provider: Provider
    source: str
    _operator: frozenset[str] = field(init=False)
    _of_callback: frozenset[str] = field(init=False)
    _of_token: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        provider = self.provider
        kept_later = frozenset((*provider.token.response.keep, *provider.refresh.response.keep))
        of_callback = frozenset(provider.callback.keep)
        object.__setattr__(self, "_of_callback", of_callback)
        object.__setattr__(self, "_of_token", of_callback | kept_later)
        object.__setattr__(self, "_operator", frozenset(provider.variables) - of_callback - kept_later)

    def check(self) -> None:
        for name in sorted(self._of_token):
            variable = self.provider.variables.get(name)
            if variable is not None and variable.value is not None:
                raise ProviderFileError(
                    self.source, f"vars.{name}", "is kept from the provider's answers and takes no value"
                )
        for use in self._uses():
            for name in placeholders(use.text):
                self._check_name(use, name)
            if use.is_url:
                self._check_url(use)

    def _uses(self) -> Iterable[_Use]:
        provider = self.provider
        client, secret = frozenset({"client_id"}), frozenset({"client_id", "client_secret"})
        yield from self._at("authorize", provider.authorize.url, provider.authorize.params, self._operator | client)
        exchange = self._operator | self._of_callback
        yield from self._at(
            "token", provider.token.url, provider.token.params, exchange | secret | {"state"}, provider.token.headers
        )
        every = self._operator | self._of_token | secret
        refresh = provider.refresh
        yield from self._at(
            "refresh", refresh.url, refresh.params, every | {"access_token", "refresh_token"}, refresh.headers
        )
        every |= {"access_token"}
        if userinfo := provider.userinfo:
            yield from self._at("userinfo", userinfo.url, userinfo.params, every, userinfo.headers)
            yield _Use("userinfo.token", userinfo.token.text, every)
        if revoke := provider.revoke:
            yield from self._at("revoke", revoke.url, revoke.params, every | {"refresh_token"}, revoke.headers)
        yield from self._at("api", provider.api.base or "", {}, every, provider.api.headers)
        yield _Use("api.token", provider.api.token.text, every)

    def _at(
        self,
        table: str,
        url: str,
        params: Mapping[str, str],
        allowed: frozenset[str],
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> Iterable[_Use]:
        """The uses of one endpoint. A URL of ours ends in logs and proxies: it never takes a secret or a token."""
        url_field = "api.base" if table == "api" else f"{table}.url"
        if url:
            yield _Use(
                url_field, url, allowed - {"client_secret", "access_token", "refresh_token", "state"}, is_url=True
            )
        for name, text in params.items():
            yield _Use(f"{table}.params.{name}", text, allowed)
        for name, text in headers.items():
            yield _Use(f"{table}.headers.{name}", text, allowed)

    def _check_name(self, use: _Use, name: str) -> None:
        if name in use.allowed:
            if name in RESERVED:
                return
            variable = self.provider.variables.get(name)
            if variable is None:
                raise self._error(use, f"{{{name}}} needs vars.{name}.pattern, which says what its value may be")
            if variable.value is None and name in self._operator:
                raise ProviderFileError(self.source, f"vars.{name}", f"needs a value: {use.field} uses it")
            return
        if name in RESERVED:
            raise self._error(use, f"{{{name}}} must not stand here")
        if name in self.provider.variables:
            raise self._error(use, f"{{{name}}} is not known yet at this step")
        raise self._error(use, f"{{{name}}} is not declared: add vars.{name}.pattern")

    def _check_url(self, use: _Use) -> None:
        """Fill the URL as far as it is known and hold it against the rules; what comes later is checked again then."""
        example = {"client_id": "x"}
        for name in placeholders(use.text):
            variable = self.provider.variables.get(name)
            if variable is None:
                continue
            example[name] = variable.value or ("https://x.example" if use.text.startswith(f"{{{name}}}") else "x")
            if variable.value is None and host_is_open(use.text, name) and _matches_any_host(variable):
                raise ProviderFileError(
                    self.source, f"vars.{name}.pattern", f"matches every host, and {use.field} would call it"
                )
        try:
            fill_url(use.text, example, local=self.provider.local)
        except TemplateError as problem:
            raise self._error(use, str(problem)) from None

    def _error(self, use: _Use, rule: str) -> ProviderFileError:
        return ProviderFileError(self.source, use.field, rule)


def _matches_any_host(variable: Variable) -> bool:
    return any(variable.matches(value) for value in (_FOREIGN_HOST, f"https://{_FOREIGN_HOST}"))
