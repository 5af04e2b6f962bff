"""The steps that only a login on a device takes (RFC 8628), on the same one item, one conditional write each.

    device -> login -> exchange -> device_ready -> active
      ^_________________|  the exchange failed: the person may try again

Until the code ends (`device_until`) the device polls; what it is told is read off the item that refuses its write.
"""

import hashlib
import secrets
from typing import Any

from broker import clock
from broker.encoding import b64url
from broker.store.attributes import item, plain
from broker.store.aws import call
from broker.store.grants import (
    KEEP_AFTER_END,
    MARK_BYTES,
    SIDE,
    STEP,
    Grant,
    Grants,
    binding,
    contains,
    grant_values,
)

WAITING = ("device", "login", "exchange")
"""Stages in which the device is told to go on polling."""

_DEVICE_ATTRIBUTES = "device_key, device_until, poll_interval, poll_after, asked_provider"
# An exchange that its instance did not finish in time is over; the person may begin again.
_MAY_OPEN = (
    "(stage IN (:device, :login) OR (stage = :exchange AND expires_at <= :now))"
    " AND attribute_exists(device_key) AND device_until > :now"
)


def may_open(grant: Grant) -> bool:
    """Whether a person may still take this login up, as the conditions of `open` and `deny` have it."""
    now = clock.now()
    free = grant.stage in ("device", "login") or (grant.stage == "exchange" and grant.expires_at <= now)
    return free and grant.device_key != b"" and grant.device_until > now


def was_denied_by(grant: Grant, browser_hash: bytes) -> bool:
    """Whether the person has refused this login in that browser, while its code is good."""
    denied = grant.stage == "ended" and grant.end_reason == "denied" and grant.browser_hash == browser_hash
    return denied and grant.device_until > clock.now()


class DeviceLogins(Grants):
    """The Grants table with the steps of device logins. Errors of every method: StoreUnavailable."""

    def begin_device(self, login: Grant, user_code: str) -> None:
        """The login item and the user code that leads to it, both or neither. Errors: Refused when the code is in use."""
        mark = secrets.token_bytes(MARK_BYTES)
        delete_at = login.device_until + KEEP_AFTER_END
        pointer = {
            "pk": _user_code_id(user_code),
            "sk": "user_code",
            "grant_id": login.grant_id,
            "expires_at": login.device_until,
            "delete_at": login.device_until,
        }
        self._transact(
            [
                {
                    "Put": {
                        "TableName": self._table,
                        "Item": item(pointer),
                        "ConditionExpression": "attribute_not_exists(pk) OR expires_at <= :now",
                        "ExpressionAttributeValues": item({":now": clock.now()}),
                    }
                },
                {
                    "Put": {
                        "TableName": self._table,
                        "Item": item(grant_values(login) | {STEP: mark, "delete_at": delete_at}),
                        "ConditionExpression": "attribute_not_exists(pk)",
                        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
                    }
                },
            ],
            mark,
        )

    def by_user_code(self, user_code: str) -> Grant | None:
        """The login that a user code (in its normal form) leads to. Whether a person may still take it up, `may_open` says."""
        answer = call(
            self._dynamodb.get_item,
            TableName=self._table,
            Key=item({"pk": _user_code_id(user_code), "sk": "user_code"}),
            ConsistentRead=True,
        )
        if "Item" not in answer:
            return None
        pointer = plain(answer["Item"])
        if pointer["expires_at"] <= clock.now():
            return None
        return self.read(pointer["grant_id"])[0]

    def open(self, grant_id: str, *, provider: str, browser_hash: bytes) -> None:
        """The person goes to the provider; of several browsers the last one counts. Errors: Refused."""
        self._step(
            grant_id,
            condition=_MAY_OPEN,
            update="SET stage = :login, provider = :provider, browser_hash = :browser, expires_at = device_until",
            values=_opening() | {":provider": provider, ":browser": browser_hash},
        )

    def deny(self, grant_id: str, *, browser_hash: bytes) -> None:
        """The person refused, in this browser, which may say so again (`was_denied_by`).

        Errors: Refused with the login as it stood: what is no longer waiting cannot be ended by a user code.
        """
        self._step(
            grant_id,
            condition=_MAY_OPEN,
            update="SET stage = :ended, ended_at = :now, end_reason = :reason, browser_hash = :browser",
            values=_opening() | {":ended": "ended", ":reason": "denied", ":browser": browser_hash},
            mark_in=STEP,
        )

    def reopen(self, grant_id: str, *, exchange_until: int) -> None:
        """The exchange with the provider failed: the code is good for another try. exchange_until: as for `finish_exchange`.

        Errors: Refused.
        """
        self._step(
            grant_id,
            condition="stage = :exchange AND expires_at = :until AND attribute_exists(device_key)",
            update="SET stage = :device, expires_at = device_until",
            values={":exchange": "exchange", ":device": "device", ":until": exchange_until},
        )

    def poll(self, grant_id: str, *, code_hash: bytes, client_id: str) -> None:
        """One poll of a device that has waited as long as it was told, for a login that is still waiting.

        Errors: Refused with the login as it stood, which says what to answer instead.
        """
        self._step(
            grant_id,
            condition="stage IN (:device, :login, :exchange) AND code_hash = :hash AND client_id = :client"
            " AND device_until > :now AND poll_after <= :now",
            update="SET poll_after = poll_interval + :now",
            values={
                ":device": "device",
                ":login": "login",
                ":exchange": "exchange",
                ":hash": code_hash,
                ":client": client_id,
                ":now": clock.now(),
            },
            mark_in=SIDE,
        )

    def slow_down(self, grant_id: str, seconds: int) -> None:
        """The device polled too soon: from now on it has to wait `seconds` longer. Errors: Refused."""
        self._step(
            grant_id,
            condition="attribute_exists(device_key)",
            update="SET poll_interval = poll_interval + :more, poll_after = poll_interval + :later",
            values={":more": seconds, ":later": clock.now() + seconds},
        )

    def redeem_device(
        self,
        grant_id: str,
        *,
        code_hash: bytes,
        client_id: str,
        resource: tuple[str, ...],
        jkt: str | None,
        bind_refresh: bool,
        handle_key: int,
        idle_lifetime: int,
    ) -> Grant:
        """The approved device code becomes an active login, once. Returns the login as it was *before*, with code_sealed.

        `jkt`, `bind_refresh`: as in Grants.redeem. Errors: Refused with the login as it stood; AnswerLost as there.
        """
        now = clock.now()
        values: dict[str, object] = {
            ":ready": "device_ready",
            ":hash": code_hash,
            ":client": client_id,
            ":now": now,
            ":active": "active",
            ":one": 1,
            ":none": "",
            ":key": handle_key,
            ":idle": now + idle_lifetime,
        }
        condition = "stage = :ready AND code_hash = :hash AND client_id = :client AND device_until > :now"
        condition += " AND absolute_expires_at > :now"
        condition += contains("resource", resource, values)
        bound = binding(jkt, bind_refresh, ":one")
        if bound:
            values[":jkt"] = jkt
        return self._step(
            grant_id,
            condition=condition,
            update="SET stage = :active, generation = :one, rotated_at = :now, rotated_scope = :none, handle_key = :key,"
            f" expires_at = :idle{bound} REMOVE code_sealed, {_DEVICE_ATTRIBUTES}",
            values=values,
            names={"#resource": "resource"} if resource else {},
            returns="ALL_OLD",
            mark_in=STEP,
        )


def _opening() -> dict[str, Any]:
    return {":device": "device", ":login": "login", ":exchange": "exchange", ":now": clock.now()}


def _user_code_id(user_code: str) -> str:
    return "user_code#" + b64url(hashlib.sha256(user_code.encode()).digest())
