"""What the fake providers remember, in one DynamoDB table.

Grants, codes and tokens expire by their own `expires_at`; the table's TTL (`delete_at`) only cleans up. Whatever may
happen once (a code redeemed, a refresh token rotated, a fault consumed) is one conditional write. No code or token is
kept, only its SHA-256.

    pk                            attributes besides delete_at
    grant#<id>                    provider client_id username scope redirect_uri state code_challenge nonce auth_time revoked
    code|access|refresh#<sha256>  grant_id provider username scope expires_at used_at revoked
    rate#<provider>#<client>#<minute>   calls
    later#<sha256>#<path>         (a first request was answered "repeat later")
    faults#<provider>#<endpoint>  queue (of JSON texts)
    key#<provider>                jwk (JSON text)
    secrets#<provider>            digests (SHA-256 of the client secrets that are right)
    assertion#<provider>#<sha256> (this client assertion was used)
    calls#<provider>              recorded cleared
    call#<provider>#<number>      entry (JSON text)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

Kind = Literal["code", "access", "refresh"]
Item = Mapping[str, Any]

DAY = 86_400


@dataclass(frozen=True)
class Grant:
    """What one person allowed the application, with the authorization request it came from."""

    id: str
    provider: str
    client_id: str
    username: str
    scope: str
    """Space separated, whatever the dialect's separator is."""
    redirect_uri: str
    state: str
    code_challenge: str
    nonce: str = ""
    auth_time: int = 0
    """When the person signed in, in seconds since the epoch."""
    revoked: bool = False


@dataclass(frozen=True)
class Token:
    """A code, an access token or a refresh token, and the grant it stands for."""

    kind: Kind
    digest: str = field(repr=False)
    grant: Grant
    scope: str
    expires_at: int | None
    """Seconds since the epoch; None never expires."""
    used: bool
    revoked: bool

    def expired(self, now: int) -> bool:
        """Whether the lifetime is over."""
        return self.expires_at is not None and self.expires_at <= now

    def alive(self, now: int) -> bool:
        """Whether it is good for anything still."""
        return not (self.revoked or self.grant.revoked or self.used or self.expired(now))


def digest(value: str) -> str:
    """SHA-256 of a code or token, in hexadecimal."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()


@lru_cache(maxsize=1)
def dynamodb() -> Any:
    """The DynamoDB client, made once per process."""
    import boto3  # ten times a start of Python, and not every request needs the table

    # A session of its own: boto3's shared one must not be used by two threads at once.
    return boto3.session.Session().client("dynamodb")


class Store:
    """The table. Every read is consistent."""

    def __init__(self, table: str) -> None:
        self._table = table

    # Grants, codes and tokens

    def add_grant(self, grant: Grant, now: int) -> None:
        """Keep a new grant; it is cleaned up after a day unless tokens are issued for it."""
        item = {
            "pk": _s(f"grant#{grant.id}"),
            "provider": _s(grant.provider),
            "client_id": _s(grant.client_id),
            "username": _s(grant.username),
            "scope": _s(grant.scope),
            "redirect_uri": _s(grant.redirect_uri),
            "state": _s(grant.state),
            "code_challenge": _s(grant.code_challenge),
            "nonce": _s(grant.nonce),
            "auth_time": _n(grant.auth_time),
            "delete_at": _n(now + DAY),
        }
        dynamodb().put_item(TableName=self._table, Item=item)

    def keep_grant(self, grant: Grant, until: int | None) -> None:
        """Let the grant's item outlive its tokens: until that second, or for good."""
        if until is None:
            self._update(f"grant#{grant.id}", "REMOVE delete_at", condition="attribute_exists(pk)")
        else:
            values = {":until": _n(until)}
            self._update(f"grant#{grant.id}", "SET delete_at = :until", values, condition="attribute_exists(pk)")

    def add_token(self, kind: Kind, value: str, grant: Grant, scope: str, expires_at: int | None) -> None:
        """Keep a new code or token of `grant`."""
        item = {
            "pk": _s(f"{kind}#{digest(value)}"),
            "grant_id": _s(grant.id),
            "provider": _s(grant.provider),
            "username": _s(grant.username),
            "scope": _s(scope),
        }
        if expires_at is not None:
            # A day longer than it is valid, so that "expired" can be told from "never existed".
            item |= {"expires_at": _n(expires_at), "delete_at": _n(expires_at + DAY)}
        dynamodb().put_item(TableName=self._table, Item=item)

    def find_token(self, kind: Kind, value: str) -> Token | None:
        """The code or token of that value, dead or alive; None when there never was one."""
        found = self._get(f"{kind}#{digest(value)}")
        grant = self._get(f"grant#{found['grant_id']['S']}") if found else None
        if found is None or grant is None:
            return None
        expires_at = found.get("expires_at")
        return Token(
            kind=kind,
            digest=digest(value),
            grant=_grant(grant),
            scope=found["scope"]["S"],
            expires_at=None if expires_at is None else int(expires_at["N"]),
            used="used_at" in found,
            revoked="revoked" in found,
        )

    def use_once(self, token: Token, now: int) -> bool:
        """Consume a code or refresh token. True for exactly one of any number of parallel callers."""
        return self._update(
            f"{token.kind}#{token.digest}",
            "SET used_at = :now",
            {":now": _n(now)},
            condition="attribute_not_exists(used_at) AND attribute_not_exists(revoked) AND expires_at > :now",
        )

    def revoke_token(self, token: Token) -> None:
        """End one token alone."""
        self._revoke(f"{token.kind}#{token.digest}")

    def revoke_grant(self, grant_id: str) -> None:
        """End a grant with every code and token of it."""
        self._revoke(f"grant#{grant_id}")

    def _revoke(self, key: str) -> None:
        values = {":yes": {"BOOL": True}}
        self._update(key, "SET revoked = :yes", values, condition="attribute_exists(pk)")

    def end_all(self, prefix: Literal["access", "refresh", "grant"], provider: str, username: str, now: int) -> int:
        """Expire the tokens, or revoke the grants, of a provider (and of one person, unless empty). How many."""
        keys = self._keys(prefix, provider, username)
        for key in keys:
            if prefix == "grant":
                self._revoke(key)
            else:
                self._update(key, "SET expires_at = :past", {":past": _n(now - 1)}, condition="attribute_exists(pk)")
        return len(keys)

    def _keys(self, prefix: str, provider: str, username: str) -> Sequence[str]:
        values = {":prefix": _s(f"{prefix}#"), ":provider": _s(provider)}
        condition = "begins_with(pk, :prefix) AND provider = :provider"
        if username:
            values |= {":username": _s(username)}
            condition += " AND username = :username"
        pages = (
            dynamodb()
            .get_paginator("scan")
            .paginate(
                TableName=self._table,
                ConsistentRead=True,
                FilterExpression=condition,
                ExpressionAttributeValues=values,
                ProjectionExpression="pk",
            )
        )
        return [item["pk"]["S"] for page in pages for item in page["Items"]]

    # Dialect state

    def count_call(self, provider: str, client_id: str, now: int) -> int:
        """Count a call of this minute; how many there are by now."""
        minute = now // 60
        answer = dynamodb().update_item(
            TableName=self._table,
            Key={"pk": _s(f"rate#{provider}#{client_id}#{minute}")},
            UpdateExpression="ADD calls :one SET delete_at = :later",
            ExpressionAttributeValues={":one": _n(1), ":later": _n(now + 3600)},
            ReturnValues="UPDATED_NEW",
        )
        return int(answer["Attributes"]["calls"]["N"])

    def begin_later(self, token: Token, path: str, now: int) -> bool:
        """Note that this request was told to come back; False when it had been, which takes the note away."""
        key = f"later#{token.digest}#{path}"
        values = {":later": _n(now + 3600)}
        if self._update(key, "SET delete_at = :later", values, condition="attribute_not_exists(pk)"):
            return True
        dynamodb().delete_item(TableName=self._table, Key={"pk": _s(key)})
        return False

    # The application's key

    def set_client_key(self, provider: str, jwk: str, now: int) -> None:
        """Register the public key of the application, a JWK as JSON text, for a day; empty takes it back."""
        if not jwk:
            dynamodb().delete_item(TableName=self._table, Key={"pk": _s(f"key#{provider}")})
            return
        item = {"pk": _s(f"key#{provider}"), "jwk": _s(jwk), "delete_at": _n(now + DAY)}
        dynamodb().put_item(TableName=self._table, Item=item)

    def client_key(self, provider: str) -> str | None:
        """The registered key; None when there is none."""
        found = self._get(f"key#{provider}")
        return None if found is None else str(found["jwk"]["S"])

    def set_client_secrets(self, provider: str, digests: Sequence[str], now: int) -> None:
        """Let the application's secret be one of these SHA-256 digests for a day; without any it is the registered one again."""
        if not digests:
            dynamodb().delete_item(TableName=self._table, Key={"pk": _s(f"secrets#{provider}")})
            return
        item = {"pk": _s(f"secrets#{provider}"), "digests": {"SS": list(digests)}, "delete_at": _n(now + DAY)}
        dynamodb().put_item(TableName=self._table, Item=item)

    def client_secrets(self, provider: str) -> tuple[str, ...]:
        """What `set_client_secrets` was given."""
        found = self._get(f"secrets#{provider}")
        return () if found is None else tuple(found["digests"]["SS"])

    def note_assertion(self, provider: str, jti: str, expires_at: int) -> bool:
        """Note the use of a client assertion; False when it was used before."""
        values = {":later": _n(expires_at + DAY)}
        key = f"assertion#{provider}#{digest(jti)}"
        return self._update(key, "SET delete_at = :later", values, condition="attribute_not_exists(pk)")

    # Faults and the record of calls (tests only)

    def queue_faults(self, provider: str, endpoint: str, faults: Sequence[str], now: int) -> None:
        """Append faults, each a JSON text, to the queue of an endpoint."""
        values = {
            ":none": {"L": []},
            ":more": {"L": [_s(fault) for fault in faults]},
            ":later": _n(now + DAY),
        }
        expression = "SET queue = list_append(if_not_exists(queue, :none), :more), delete_at = :later"
        self._update(f"faults#{provider}#{endpoint}", expression, values)

    def take_fault(self, provider: str, endpoint: str) -> str | None:
        """Remove the oldest fault of an endpoint and return it; each is handed out once."""
        answer = self._try_to_update(
            f"faults#{provider}#{endpoint}",
            UpdateExpression="REMOVE queue[0]",
            ConditionExpression="attribute_exists(queue[0])",
            ReturnValues="ALL_OLD",
        )
        return None if answer is None else str(answer["Attributes"]["queue"]["L"][0]["S"])

    def drop_faults(self, provider: str, endpoint: str) -> None:
        """Forget the faults that nobody has met yet."""
        dynamodb().delete_item(TableName=self._table, Key={"pk": _s(f"faults#{provider}#{endpoint}")})

    def record_call(self, provider: str, entry: str, now: int) -> None:
        """Append an entry, a JSON text, to the record of a provider's calls."""
        answer = dynamodb().update_item(
            TableName=self._table,
            Key={"pk": _s(f"calls#{provider}")},
            UpdateExpression="ADD recorded :one",
            ExpressionAttributeValues={":one": _n(1)},
            ReturnValues="UPDATED_NEW",
        )
        number = answer["Attributes"]["recorded"]["N"]
        item = {"pk": _s(f"call#{provider}#{number}"), "entry": _s(entry), "delete_at": _n(now + DAY)}
        dynamodb().put_item(TableName=self._table, Item=item)

    def calls(self, provider: str) -> Sequence[str]:
        """The entries recorded since the last clearing, oldest first."""
        found = self._get(f"calls#{provider}")
        if found is None:
            return []
        first = int(found.get("cleared", {"N": "0"})["N"]) + 1
        last = int(found["recorded"]["N"])
        items = [self._get(f"call#{provider}#{number}") for number in range(first, last + 1)]
        return [item["entry"]["S"] for item in items if item is not None]

    def clear_calls(self, provider: str) -> None:
        """Begin a new record. Entries already made are passed over from now on."""
        found = self._get(f"calls#{provider}")
        if found is not None:
            self._update(f"calls#{provider}", "SET cleared = :recorded", {":recorded": found["recorded"]})

    # DynamoDB

    def _get(self, key: str) -> Item | None:
        answer = dynamodb().get_item(TableName=self._table, Key={"pk": _s(key)}, ConsistentRead=True)
        item: Item | None = answer.get("Item")
        return item

    def _update(self, key: str, expression: str, values: Item | None = None, condition: str = "") -> bool:
        optional: dict[str, Any] = {}
        if values:
            optional["ExpressionAttributeValues"] = values
        if condition:
            optional["ConditionExpression"] = condition
        return self._try_to_update(key, UpdateExpression=expression, **optional) is not None

    def _try_to_update(self, key: str, **arguments: Any) -> dict[str, Any] | None:
        """DynamoDB's answer, or None when the condition did not hold."""
        from botocore.exceptions import ClientError

        try:
            answer: dict[str, Any] = dynamodb().update_item(TableName=self._table, Key={"pk": _s(key)}, **arguments)
        except ClientError as error:
            # Not by class: clients made at the same time, by the first requests, each have error classes of their own.
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return None
        return answer


def _grant(item: Item) -> Grant:
    return Grant(
        id=item["pk"]["S"].removeprefix("grant#"),
        provider=item["provider"]["S"],
        client_id=item["client_id"]["S"],
        username=item["username"]["S"],
        scope=item["scope"]["S"],
        redirect_uri=item["redirect_uri"]["S"],
        state=item["state"]["S"],
        code_challenge=item["code_challenge"]["S"],
        nonce=item.get("nonce", {"S": ""})["S"],
        auth_time=int(item.get("auth_time", {"N": "0"})["N"]),
        revoked="revoked" in item,
    )


def _s(value: str) -> dict[str, str]:
    return {"S": value}


def _n(value: int) -> dict[str, str]:
    return {"N": str(value)}
