"""What the operator decides about clients that register themselves: the policy, and initial access tokens.

Initial access tokens are there as SHA-256 of a 256-bit random value. `broker.store.self_registered` counts their uses.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from broker import clock
from broker.protocol.registration_policy import RegistrationPolicy
from broker.store.attributes import item, plain
from broker.store.aws import call

INITIAL_TOKEN_KEY = "initial_token#"
"""Before the token's digest, the key of its item."""
_POLICY = "policy#registration"
_ID_LENGTH = 16


@dataclass(frozen=True)
class InitialToken:
    """An initial access token (RFC 7591 section 3). Times are epoch seconds; `expires_at` 0 = never.

    Attributes:
        sha256: hex digest of the token; its beginning is the id that operators see.
        uses_left: how many clients may still be registered with it.
    """

    sha256: str
    name: str
    uses_left: int
    expires_at: int
    created_at: int

    @property
    def id(self) -> str:
        """What the operator calls it by."""
        return self.sha256[:_ID_LENGTH]

    def is_usable(self) -> bool:
        """Whether a client may be registered with it now."""
        return self.uses_left > 0 and (not self.expires_at or clock.now() < self.expires_at)


class Registrations:
    """Reads and writes of the Registry table. Errors of every method: StoreUnavailable."""

    def __init__(self, dynamodb: Any, table: str, cache_seconds: int = 60) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._cache_seconds = cache_seconds
        self._policy: tuple[RegistrationPolicy, int] | None = None

    # -- the policy ------------------------------------------------------------------------------------------------

    def policy(self) -> RegistrationPolicy:
        """The operator's policy, remembered for a while; the default (all off) when there is none."""
        now = clock.now()
        if self._policy and now < self._policy[1]:
            return self._policy[0]
        stored = self._get(_POLICY)
        policy = _policy(stored) if stored else RegistrationPolicy()
        self._policy = (policy, now + self._cache_seconds)
        return policy

    def set_policy(self, policy: RegistrationPolicy) -> None:
        """Replace the policy."""
        call(self._dynamodb.put_item, TableName=self._table, Item=item(asdict(policy) | {"pk": _POLICY}))
        self.forget()

    def forget(self) -> None:
        """Drop what is remembered."""
        self._policy = None

    # -- initial access tokens -------------------------------------------------------------------------------------

    def add_initial_token(self, token: InitialToken) -> None:
        """Let a token be used."""
        call(
            self._dynamodb.put_item,
            TableName=self._table,
            Item=item(asdict(token) | {"pk": INITIAL_TOKEN_KEY + token.sha256}),
        )

    def initial_token(self, sha256: str) -> InitialToken | None:
        """The token of that digest, usable or not."""
        stored = self._get(INITIAL_TOKEN_KEY + sha256)
        return _token(stored) if stored else None

    def initial_tokens(self) -> Iterator[InitialToken]:
        """All tokens, in no order. Reads the whole table: for the operator only."""
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "FilterExpression": "begins_with(pk, :prefix)",
            "ExpressionAttributeValues": item({":prefix": INITIAL_TOKEN_KEY}),
        }
        while True:
            page = call(self._dynamodb.scan, **arguments)
            yield from (_token(plain(stored)) for stored in page["Items"])
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def remove_initial_token(self, sha256: str) -> None:
        """Let a token be used no more."""
        call(self._dynamodb.delete_item, TableName=self._table, Key=item({"pk": INITIAL_TOKEN_KEY + sha256}))

    # -- how many there are -----------------------------------------------------------------------------------------

    def registered(self) -> int:
        """How many clients have registered themselves and are still there."""
        stored = self._get("count#registered")
        return int(stored.get("registered", 0)) if stored else 0

    def set_registered(self, count: int) -> None:
        """Put the count right: a request that was cut off may have left it wrong by one."""
        values = {"pk": "count#registered", "registered": count}
        call(self._dynamodb.put_item, TableName=self._table, Item=item(values))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _get(self, pk: str) -> dict[str, Any] | None:
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=item({"pk": pk}), ConsistentRead=True)
        return plain(answer["Item"]) if "Item" in answer else None


def _policy(stored: Mapping[str, Any]) -> RegistrationPolicy:
    values: dict[str, Any] = {f.name: stored[f.name] for f in fields(RegistrationPolicy) if f.name in stored}
    values |= {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return RegistrationPolicy(**values)


def _token(stored: Mapping[str, Any]) -> InitialToken:
    return InitialToken(**{f.name: stored[f.name] for f in fields(InitialToken)})
