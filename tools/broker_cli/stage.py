"""What an operator moves from one stage to another: clients, providers, registration policy and brand, as one document.

Pure. The document never holds a secret: of a client's secrets at most their SHA-256 (of 256-bit random values, so of no use for
logging in), and of a provider's credentials nothing at all.
"""

import json
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, TypeVar

from broker.brand import Brand, BrandProblem, document_of
from broker.brand import parse as parse_brand
from broker.protocol.clients import Client, ClientSecret
from broker.protocol.registration_policy import RegistrationPolicy
from broker.store.registry import ProviderEntry

FORMAT = "token-broker stage"
VERSION = 1
_MAX_SECRETS = 2  # of a client: the new one, and the one that it replaces
_SHA256 = re.compile(r"[0-9a-f]{64}")  # of `hash_secret`, whose digits are compared as text

Value = TypeVar("Value", Client, ProviderEntry, RegistrationPolicy)

_OF_THE_STAGE = frozenset({"created_at", "dynamic", "registration_token"})
"""Attributes that say when and how an entry came to be where it is, and so do not move."""


class StageProblem(Exception):
    """The document cannot be read. The text says where, and what is wrong."""


@dataclass(frozen=True)
class Stage:
    """What moves. Clients that registered themselves are not part of it: they belong to the stage where they did.

    Attributes:
        clients, providers: by id and name.
        policy, brand: None where the document says nothing of it, so that an import leaves it alone.
        with_hashes: the clients' secrets are there, as SHA-256.
    """

    clients: Mapping[str, Client] = field(default_factory=dict)
    providers: Mapping[str, ProviderEntry] = field(default_factory=dict)
    policy: RegistrationPolicy | None = None
    brand: Brand | None = None
    with_hashes: bool = False


def text_of(stage: Stage) -> str:
    """The document, the same for the same stage: sorted, indented, without what is as by default."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "clients": [_client_document(stage.clients[name], stage.with_hashes) for name in sorted(stage.clients)],
        "providers": [_changed(stage.providers[name], {"name"}) for name in sorted(stage.providers)],
    }
    if stage.policy is not None:
        document["registration"] = _changed(stage.policy, set())
    if stage.brand is not None:
        document["brand"] = document_of(stage.brand)
    return json.dumps(document, indent=2, sort_keys=False, ensure_ascii=True)


def parse(text: str) -> Stage:
    """The stage that a document describes. Errors: StageProblem."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise StageProblem("it is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise StageProblem(f"it is not a document of `broker export` (its format must be {FORMAT!r})")
    if document.get("version") != VERSION:
        raise StageProblem(f"its version is {document.get('version')!r}, and this command reads version {VERSION}")
    unknown = sorted(set(document) - {"format", "version", "clients", "providers", "registration", "brand"})
    if unknown:
        raise StageProblem(f"it has a member {unknown[0]!r} that this version does not know")
    clients = [_client(entry) for entry in _entries(document, "clients")]
    return Stage(
        clients=_by_name(clients, "client_id"),
        providers=_by_name([_value(ProviderEntry, entry) for entry in _entries(document, "providers")], "name"),
        policy=_value(RegistrationPolicy, document["registration"]) if "registration" in document else None,
        brand=_brand(document["brand"]) if "brand" in document else None,
        with_hashes=any(client.secrets for client in clients),
    )


@dataclass(frozen=True)
class Change:
    """One entry that an import would write or remove.

    kind: client, provider, registration or brand; what: add, change or remove; attributes: those that differ.
    """

    what: str
    kind: str
    name: str
    attributes: tuple[str, ...] = ()


def merged(there: Stage, wanted: Stage, now: int) -> Stage:
    """`wanted` as it would be stored where `there` is: what does not move keeps its value of there, or starts `now`."""
    clients = {name: _client_there(there.clients.get(name), client, now) for name, client in wanted.clients.items()}
    providers = {
        name: replace(entry, created_at=there.providers[name].created_at if name in there.providers else now)
        for name, entry in wanted.providers.items()
    }
    return replace(wanted, clients=clients, providers=providers)


def changes(there: Stage, wanted: Stage, *, prune: bool) -> list[Change]:
    """What has to be done to make `there` as `wanted` (of `merged`). prune: entries that are not wanted go."""
    found = [*_named("provider", there.providers, wanted.providers), *_named("client", there.clients, wanted.clients)]
    if wanted.policy is not None:
        found += _single("registration", there.policy or RegistrationPolicy(), wanted.policy)
    if wanted.brand is not None:
        found += _single("brand", there.brand or Brand(), wanted.brand)
    if prune:
        found += [Change("remove", "client", name) for name in sorted(set(there.clients) - set(wanted.clients))]
        found += [Change("remove", "provider", name) for name in sorted(set(there.providers) - set(wanted.providers))]
    return found


def _client_there(before: Client | None, client: Client, now: int) -> Client:
    if before is None:
        return replace(client, created_at=now)
    secrets = client.secrets or (before.secrets if client.uses_secret else ())
    return replace(client, created_at=before.created_at, secrets=secrets)


def _named(kind: str, there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Change]:
    found = []
    for name in sorted(wanted):
        if name not in there:
            found.append(Change("add", kind, name))
        elif attributes := _different(there[name], wanted[name]):
            found.append(Change("change", kind, name, attributes))
    return found


def _single(kind: str, there: object, wanted: object) -> list[Change]:
    attributes = _different(there, wanted)
    return [Change("change", kind, kind, attributes)] if attributes else []


def _different(before: Any, after: Any) -> tuple[str, ...]:
    return tuple(f.name for f in fields(before) if getattr(before, f.name) != getattr(after, f.name))


def _client_document(client: Client, with_hashes: bool) -> dict[str, Any]:
    document = _changed(client, {"client_id", "name", "redirect_uris"})
    if with_hashes and client.secrets:
        document["secrets"] = [asdict(secret) for secret in client.secrets]
    return document


def _changed(value: Any, always: set[str]) -> dict[str, Any]:
    """The attributes that differ from their default, in the order of the class."""
    default = type(value)(**{name: getattr(value, name) for name in always})
    names = (f.name for f in fields(value) if f.name not in _OF_THE_STAGE | {"secrets"})
    return {
        name: getattr(value, name) for name in names if name in always or getattr(value, name) != getattr(default, name)
    }


def _entries(document: Mapping[str, Any], name: str) -> list[Any]:
    entries = document.get(name, [])
    if not isinstance(entries, list):
        raise StageProblem(f"its {name} must be a list")
    return entries


def _by_name(entries: list[Any], attribute: str) -> dict[str, Any]:
    found = {getattr(entry, attribute): entry for entry in entries}
    if len(found) < len(entries):
        raise StageProblem(f"two entries have the same {attribute}")
    return found


def _client(entry: object) -> Client:
    if not isinstance(entry, dict):
        raise StageProblem("a client must be an object")
    plain = {name: value for name, value in entry.items() if name != "secrets"}
    client = _value(Client, plain)
    entries = entry.get("secrets", [])
    if not isinstance(entries, list) or len(entries) > _MAX_SECRETS:
        raise StageProblem(f"client {client.client_id}: secrets must be a list of at most {_MAX_SECRETS}")
    return replace(client, secrets=tuple(_secret(client.client_id, one) for one in entries))


def _secret(client_id: str, entry: object) -> ClientSecret:
    """A wrong one would be stored and never match, or end every comparison with it in an error."""
    if not isinstance(entry, dict) or set(entry) != {"sha256", "created_at"}:
        raise StageProblem(f"client {client_id}: secrets must be objects with sha256 and created_at")
    sha256, created_at = entry["sha256"], entry["created_at"]
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise StageProblem(f"client {client_id}: sha256 of a secret must be 64 hexadecimal digits, in small letters")
    if type(created_at) is not int or created_at < 0:
        raise StageProblem(f"client {client_id}: created_at of a secret must be a number of seconds since 1970")
    return ClientSecret(sha256, created_at)


def _value(kind: type[Value], entry: object) -> Value:
    """A value of `kind` from an object of the document; every attribute of the right type, none that is unknown."""
    if not isinstance(entry, dict):
        raise StageProblem(f"a {kind.__name__} must be an object")
    hints = typing.get_type_hints(kind)
    where = str(entry.get("client_id") or entry.get("name") or kind.__name__)
    values: dict[str, Any] = {}
    for name, value in entry.items():
        if name not in hints or name in _OF_THE_STAGE:
            raise StageProblem(f"{where}: there is no attribute {name!r}")
        values[name] = tuple(value) if isinstance(value, list) else value
        if not _is_of(values[name], hints[name]):
            raise StageProblem(f"{where}: {name} is not of the kind that it should be")
    try:
        return kind(**values)
    except TypeError:
        raise StageProblem(f"{where}: an attribute that every entry needs is missing") from None


def _is_of(value: object, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_is_of(value, one) for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_is_of(one, arguments[0]) for one in value)
    if origin is not None:  # the mappings of a provider
        return isinstance(value, dict) and all(
            isinstance(name, str) and _is_of(one, arguments[1]) for name, one in value.items()
        )
    if hint is Any:
        return True
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _brand(document: object) -> Brand:
    if not isinstance(document, dict):
        raise StageProblem("its brand must be an object")
    try:
        return parse_brand(document)
    except BrandProblem as problem:
        raise StageProblem(f"its brand: {problem}") from None
