"""The Grants table: one login is one item for its whole life, and each step of it is one conditional write.

So each step happens exactly once, however many requests race. DynamoDB deletes expired items up to days late, hence every
condition checks `expires_at` itself; `delete_at` is housekeeping alone. The provider's tokens lie beside the login, sealed,
in an item of their own ("upstream"), so that the item that rotates stays under one write unit of 1 KB.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeGuard

from broker import clock, invocation
from broker.crypto.handles import GRANT_ID_BYTES
from broker.encoding import b64url
from broker.store.attributes import Item, item, plain
from broker.store.aws import ConditionFailed, call, update_item
from broker.store.links import Link, LinkRefused, Links, link_of

KEEP_AFTER_END = 86400
"""Seconds that an ended or expired login stays readable, so that "why was this user logged out" has an answer."""
MARK_BYTES = 9
"""Random bytes that a write leaves, to know its own work again when it is repeated."""
STEP, SIDE = "write_id", "side_id"
"""Where it leaves them: a step of the login, and what is only noted beside. Each has its own, because a note that came between a
step and its repetition would take the step's mark away."""
USED_MARGIN = 60
"""Seconds that the mark of what counts once outlives it. Between the look at its end and the write of the mark there are reads,
and perhaps somebody's web server: more than any function may run."""


@dataclass(frozen=True)
class Grant:
    """A login. Which attributes are set depends on the stage (docs/storage.md has the table). Times are epoch seconds.

    Attributes:
        stage: pushed, device, login, exchange, consent, device_ready, code, active or ended.
        scope: granted scope; `resource`: granted resource indicators.
        browser_hash: SHA-256 of the secret in the browser's login cookie (of one that was refused on the device page: in the
            cookie of that page).
        code_hash, secret_hash: SHA-256 of the code's secret and of the grant secret.
        code_sealed: grant secret and claims, sealed under the code's secret (while consent is asked: under the browser's);
            gone once the code is redeemed.
        ask_consent: the request wants the person to be asked even if he need not be.
        ask_login: it wants him to sign in at the provider even if he has; ask_account: to choose an account there.
        dialect: name of the dialect that the authorization request was in, "" for standard OAuth.
        generation: number of the refresh token that counts; rotated_at: when it came to be.
        rotated_scope: the scope asked for in the request that made this generation, as one string ("" = none).
        handle_key, upstream_due: what the present refresh token was made with, so that it can be made again.
        code_jkt: thumbprint of the DPoP key that the code is bound to (RFC 9449 section 10), None if to none.
        refresh_jkt: of the key that the refresh token of a public client is bound to (section 5); bound_from: the first
            generation that is.
        attempts: with a wrong verifier, redirect_uri or DPoP key that the code has met.
        device_key: public key of the device that waits for this login (RFC 8628), whose private key is the device code's
            secret and code_hash the hash of that; device_until: when the device code ends.
        poll_interval: seconds between its polls; poll_after: when it may poll next.
        asked_provider: the provider that the device named; the person chooses if it named none.
        reconnects: the login whose place this one is to take, for the same account (docs/links.md).
        login_hint: whom the client of a pushed request expects to sign in, sealed (broker.grants.login_hint).
        missing_scope: what was asked for of the provider and not granted; `scope` has it still, tokens do not.
        end_detail: what `end_reason` leaves open, as a short code; recovered_by: the login that took this one's place.
    """

    grant_id: str
    stage: str
    client_id: str
    provider: str
    created_at: int
    expires_at: int
    redirect_uri: str = ""
    redirect_uri_sent: bool = False
    scope: tuple[str, ...] = ()
    resource: tuple[str, ...] = ()
    state: str | None = None
    code_challenge: str | None = None
    nonce: str | None = None
    code_jkt: str | None = None
    refresh_jkt: str | None = None
    bound_from: int = 0
    max_age: int | None = None
    response_mode: str = ""
    ask_consent: bool = False
    ask_login: bool = False
    ask_account: bool = False
    dialect: str = ""
    browser_hash: bytes = field(default=b"", repr=False)
    subject: str = ""
    auth_time: int = 0
    code_hash: bytes = field(default=b"", repr=False)
    secret_hash: bytes = field(default=b"", repr=False)
    code_sealed: bytes = field(default=b"", repr=False)
    generation: int = 0
    rotated_at: int = 0
    rotated_scope: str = ""
    handle_key: int = 0
    upstream_due: int = 0
    absolute_expires_at: int = 0
    attempts: int = 0
    device_key: bytes = b""
    device_until: int = 0
    poll_interval: int = 0
    poll_after: int = 0
    asked_provider: str = ""
    reconnects: str = ""
    login_hint: bytes = field(default=b"", repr=False)
    missing_scope: tuple[str, ...] = ()
    ended_at: int = 0
    end_reason: str = ""
    end_detail: str = ""
    recovered_by: str = ""

    def effective(self, scope: tuple[str, ...]) -> tuple[str, ...]:
        """Of `scope`, what tokens of this login may say: without what the provider did not grant (RFC 6749 section 5.1)."""
        return tuple(one for one in scope if one not in self.missing_scope)

    @property
    def token_ends_at(self) -> int:
        """When its present code or refresh token ends: by its own lifetime, or with the login (epoch seconds)."""
        return min(self.expires_at, self.absolute_expires_at)

    @property
    def provider_prompts(self) -> tuple[str, ...]:
        """What of the request's prompt is for the provider's pages (OpenID Connect Core section 3.1.2.1)."""
        wanted = {"login": self.ask_login, "select_account": self.ask_account}
        return tuple(name for name, is_wanted in wanted.items() if is_wanted)

    @property
    def granted_scope(self) -> tuple[str, ...]:
        """The scope of the login without what the provider did not grant."""
        return self.effective(self.scope)


@dataclass(frozen=True)
class Consent:
    """What a person agreed to give a client. `returns_to`: origin of the redirect URI, which the person was told; `expires_at`:
    epoch seconds."""

    subject: str
    client_id: str
    returns_to: str
    scope: tuple[str, ...]
    expires_at: int


class Refused(Exception):
    """The conditional write did not apply. `grant` is the login as it stood then, None if there is none (any more)."""

    def __init__(self, grant: Grant | None) -> None:
        super().__init__("refused")
        self.grant = grant


class AnswerLost(Exception):
    """The conditional write did apply, but the answer that alone had what it removed was lost on the way."""


def new_grant_id() -> str:
    """A random grant id: 128 bits in base64url, never with a leading "-" that a shell would take for an option."""
    while True:
        grant_id = b64url(secrets.token_bytes(GRANT_ID_BYTES))
        if not grant_id.startswith("-"):
            return grant_id


class Grants:
    """Logins, and beside each of them, in `links`, the provider's tokens. Errors of every method: StoreUnavailable."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self.links = Links(dynamodb, table)

    # -- the steps of a login, one conditional write each ----------------------------------------------------------

    def begin(self, login: Grant) -> None:
        """Step 1, by authorize: the login item. Errors: Refused if the id is taken (never, for random ids)."""
        mark = secrets.token_bytes(MARK_BYTES)
        values = grant_values(login) | {STEP: mark, "delete_at": login.expires_at + KEEP_AFTER_END}
        try:
            call(
                self._dynamodb.put_item,
                TableName=self._table,
                Item=item(values),
                ConditionExpression="attribute_not_exists(pk)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            if not _is_ours(failed.item, mark):
                raise Refused(None) from None

    def claim(self, grant_id: str, *, provider: str, browser_hash: bytes, exchange_until: int) -> Grant:
        """Step 2, by callback: use up the state. Only the browser and the provider that it was made for can.

        Returns the login. Errors: Refused.
        """
        return self._step(
            grant_id,
            condition="stage = :login AND provider = :provider AND browser_hash = :browser AND expires_at > :now",
            update="SET stage = :exchange, expires_at = :until REMOVE browser_hash",
            values={
                ":login": "login",
                ":provider": provider,
                ":browser": browser_hash,
                ":now": clock.now(),
                ":exchange": "exchange",
                ":until": exchange_until,
            },
            mark_in=STEP,
        )

    def open_pushed(
        self, grant_id: str, *, client_id: str, provider: str, browser_hash: bytes, login_until: int
    ) -> Grant:
        """A pushed authorization request becomes a login, once, for the client that pushed it (RFC 9126 section 4).

        Returns the login. Errors: Refused.
        """
        return self._step(
            grant_id,
            condition="stage = :pushed AND client_id = :client AND expires_at > :now",
            update="SET stage = :login, provider = :provider, browser_hash = :browser, expires_at = :until REMOVE login_hint",
            values={
                ":pushed": "pushed",
                ":client": client_id,
                ":now": clock.now(),
                ":login": "login",
                ":provider": provider,
                ":browser": browser_hash,
                ":until": login_until,
            },
            mark_in=STEP,
        )

    def keep_pushed(self, grant_id: str, *, client_id: str, until: int) -> None:
        """A pushed request stays until then while a person makes up his mind; it is used up by `open_pushed` all the same.

        Errors: Refused when it has expired, is used up or is another client's.
        """
        self._step(
            grant_id,
            condition="stage = :pushed AND client_id = :client AND expires_at > :now",
            update="SET expires_at = :until",
            values={":pushed": "pushed", ":client": client_id, ":now": clock.now(), ":until": until},
        )

    def finish_exchange(self, after: Grant, link: Link, *, exchange_until: int) -> None:
        """Step 3, by callback: what came of the exchange, and beside it the sealed upstream tokens.

        `after.stage` is "code" (with code_hash), "consent" (with browser_hash) while the person is asked, or
        "device_ready" for the device that waits. Two writes, at the same time, where a transaction would cost twice as much:
        nobody holds the code or the page before both are done, so it makes no difference which is first, and tokens without
        a login open for nobody. Only a device may come at any moment; for it, the tokens have to be there first.
        exchange_until: what `claim` was given, by which an attempt that the AWS client has given up, and that arrives late, knows
        that a device's person has gone to the provider again. Errors: Refused when the login is no longer in this exchange.
        """

        def write_tokens() -> None:
            try:
                self.links.put_first(link, after.absolute_expires_at + KEEP_AFTER_END)
            except LinkRefused:
                raise Refused(None) from None

        if after.stage == "device_ready":
            write_tokens()
            self._finish(after, exchange_until)
        else:
            invocation.at_once(write_tokens, lambda: self._finish(after, exchange_until))

    def _finish(self, after: Grant, exchange_until: int) -> None:
        values: dict[str, object] = {
            ":exchange": "exchange",
            ":until": exchange_until,
            ":now": clock.now(),
            ":stage": after.stage,
            ":subject": after.subject,
            ":auth_time": after.auth_time,
            ":secret_hash": after.secret_hash,
            ":code_sealed": after.code_sealed,
            ":upstream_due": after.upstream_due,
            ":absolute": after.absolute_expires_at,
            ":expires": after.expires_at,
            ":delete": after.absolute_expires_at + KEEP_AFTER_END,
        }
        update = (
            "SET stage = :stage, subject = :subject, auth_time = :auth_time, secret_hash = :secret_hash,"
            " code_sealed = :code_sealed, upstream_due = :upstream_due, absolute_expires_at = :absolute,"
            " expires_at = :expires, delete_at = :delete"
        )
        if after.missing_scope:
            update += ", missing_scope = :missing"
            values[":missing"] = after.missing_scope
        names: dict[str, str] = {}
        if after.stage == "code":
            update += (
                ", code_hash = :code_hash REMOVE #state, response_mode, ask_consent, ask_login, ask_account, dialect"
            )
            values[":code_hash"] = after.code_hash
            names = {"#state": "state"}
        elif after.stage == "consent":
            update += ", browser_hash = :browser"
            values[":browser"] = after.browser_hash
        condition = "stage = :exchange AND expires_at = :until AND expires_at > :now"
        try:
            self._step(after.grant_id, condition=condition, update=update, values=values, names=names)
        except Refused as refused:
            # A write that was repeated because its first answer was lost finds its own work, or what a device made of it
            # meanwhile: no two grant secrets are the same, and the hash stays.
            if refused.grant is None or refused.grant.secret_hash != after.secret_hash:
                raise

    def approve(self, code: Grant, *, browser_hash: bytes, consent: Consent | None) -> None:
        """The person agreed: consent becomes code, once and for his browser alone, and `consent` is remembered, if any.

        Sets code_hash, code_sealed and expires_at of `code`. What the answer to the browser is made of stays until the code is
        redeemed, so that it can be given again. Errors: Refused.
        """
        mark = secrets.token_bytes(MARK_BYTES)
        values = {
            ":mark": mark,
            ":consent": "consent",
            ":browser": browser_hash,
            ":now": clock.now(),
            ":code": "code",
            ":code_hash": code.code_hash,
            ":code_sealed": code.code_sealed,
            ":expires": code.expires_at,
        }
        advance = {
            "TableName": self._table,
            "Key": _key(code.grant_id),
            "ConditionExpression": "stage = :consent AND browser_hash = :browser AND expires_at > :now",
            "UpdateExpression": f"SET {STEP} = :mark, stage = :code, code_hash = :code_hash, code_sealed = :code_sealed,"
            " expires_at = :expires REMOVE ask_consent, ask_login, ask_account",
            "ExpressionAttributeValues": item(values),
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        writes = [{"Update": advance}]
        if consent is not None:
            writes.append({"Put": {"TableName": self._table, "Item": item(_consent_values(consent))}})
        self._transact(writes, mark)

    def consent(self, subject: str, client_id: str, returns_to: str) -> Consent | None:
        """What this person agreed to give this client there, if that still counts."""
        key = _key(_consent_id(subject, client_id, returns_to), "consent")
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=key)
        if "Item" not in answer:
            return None
        found = plain(answer["Item"])
        if found["expires_at"] <= clock.now():
            return None
        return Consent(subject, client_id, returns_to, tuple(found["scope"]), found["expires_at"])

    def redeem(
        self,
        grant_id: str,
        *,
        code_hash: bytes,
        client_id: str,
        code_challenge: str | None,
        redirect_uri: str | None,
        redirect_uri_optional: bool = True,
        jkt: str | None = None,
        bind_refresh: bool = False,
        resource: tuple[str, ...],
        max_attempts: int,
        handle_key: int,
        idle_lifetime: int,
    ) -> Grant:
        """Step 4, by token: the code becomes an active login, once.

        `redirect_uri` None: the request named none, which is right if it is optional or the authorization request named
        none either. `jkt`: the DPoP key that the request proved; `bind_refresh`: bind the refresh tokens to it. Returns the
        login as it was *before*, with code_sealed.
        Errors: Refused with the login as it stood; AnswerLost when the code is used up and code_sealed with it.
        """
        now = clock.now()
        condition = (
            "stage = :code AND code_hash = :hash AND client_id = :client AND expires_at > :now AND attempts < :max"
            " AND absolute_expires_at > :now"
        )
        values: dict[str, object] = {
            ":code": "code",
            ":hash": code_hash,
            ":client": client_id,
            ":now": now,
            ":max": max_attempts,
            ":active": "active",
            ":one": 1,
            ":none": "",
            ":key": handle_key,
            ":idle": now + idle_lifetime,
        }
        if code_challenge is None:
            condition += " AND attribute_not_exists(code_challenge)"
        else:
            condition += " AND code_challenge = :challenge"
            values[":challenge"] = code_challenge
        if redirect_uri is not None:
            condition += " AND redirect_uri = :redirect"
            values[":redirect"] = redirect_uri
        elif not redirect_uri_optional:
            condition += " AND redirect_uri_sent = :not_sent"
            values[":not_sent"] = False
        condition += contains("resource", resource, values)
        condition += _bound("code_jkt", jkt, values)
        return self._step(
            grant_id,
            condition=condition,
            update="SET stage = :active, generation = :one, rotated_at = :now, rotated_scope = :none, handle_key = :key,"
            f" expires_at = :idle{binding(jkt, bind_refresh, ':one')} REMOVE code_sealed, nonce, max_age,"
            " #state, browser_hash, response_mode, dialect",  # which are there after consent was asked
            values=values,
            names={"#state": "state"} | ({"#resource": "resource"} if resource else {}),
            returns="ALL_OLD",
            mark_in=STEP,
        )

    def count_attempt(self, grant_id: str) -> None:
        """A wrong verifier or redirect_uri came with a code that is otherwise good. Errors: none but StoreUnavailable."""
        try:
            self._step(
                grant_id,
                condition="stage = :code",
                update="SET attempts = attempts + :one",
                values={":code": "code", ":one": 1},
            )
        except Refused:
            return

    def rotate(
        self,
        grant_id: str,
        *,
        generation: int,
        secret_hash: bytes,
        client_id: str,
        scope: tuple[str, ...] | None,
        resource: tuple[str, ...],
        jkt: str | None = None,
        is_public: bool = True,
        handle_key: int,
        upstream_due: int,
        idle_lifetime: int,
    ) -> Grant:
        """A refresh: generation n becomes n + 1, once. `scope` None: the request named none.

        `jkt`: the DPoP key that the request proved. A public client's refresh token (`is_public`) that is bound needs that
        key, and one that is not yet bound is from now on (RFC 9449 section 5).
        Expiry slides by `idle_lifetime` but never past the absolute end, which is checked apart. Returns the login as it
        is now. Errors: Refused with the login as it stood.
        """
        now = clock.now()
        condition = (
            "stage = :active AND generation = :n AND client_id = :client AND secret_hash = :hash"
            " AND expires_at > :now AND absolute_expires_at > :now"
        )
        values: dict[str, object] = {
            ":active": "active",
            ":n": generation,
            ":client": client_id,
            ":hash": secret_hash,
            ":now": now,
            ":next": generation + 1,
            ":asked": " ".join(scope or ()),
            ":key": handle_key,
            ":due": upstream_due,
            ":idle": now + idle_lifetime,
        }
        # The scope that was granted is known only to the item, and a refused request must consume nothing
        # (RFC 6749 section 6), so the subset test is part of the same condition.
        names: dict[str, str] = {}
        for attribute, wanted in (("scope", scope or ()), ("resource", resource)):
            condition += contains(attribute, wanted, values)
            names |= {f"#{attribute}": attribute} if wanted else {}
        if is_public:
            condition += _bound("refresh_jkt", jkt, values)
        return self._step(
            grant_id,
            condition=condition,
            update="SET generation = :next, rotated_at = :now, rotated_scope = :asked, handle_key = :key,"
            f" upstream_due = :due, expires_at = :idle{binding(jkt, is_public, ':next')}",
            values=values,
            names=names,
            mark_in=STEP,
        )

    def end(
        self, grant_id: str, reason: str, *, client_id: str | None = None, detail: str = "", is_answer: bool = False
    ) -> Grant | None:
        """End a login. Returns it, or None if it is not there or has ended already: the first reason stays.

        `client_id`: only if it is this client's. `detail`: a short code for what the reason leaves open. `is_answer`: the
        person said so on a page, and what the answer to the browser is made of stays, so that it can be given again.
        """
        now = clock.now()
        values: dict[str, object] = {":ended": "ended", ":now": now, ":reason": reason}
        condition = "attribute_exists(pk) AND stage <> :ended"
        noted = ""
        if detail:
            noted, values[":detail"] = ", end_detail = :detail", detail
        if client_id is not None:
            condition += " AND client_id = :client"
            values[":client"] = client_id
        try:
            return self._step(
                grant_id,
                condition=condition,
                update=f"SET stage = :ended, ended_at = :now, end_reason = :reason{noted}"
                f" REMOVE code_sealed{'' if is_answer else ', browser_hash, #state'}",
                values=values,
                names={} if is_answer else {"#state": "state"},
                mark_in=STEP,
            )
        except Refused:
            return None

    # -- links as people see them ----------------------------------------------------------------------------------

    def mark_recovered(self, ended_id: str, *, by: Grant) -> Grant | None:
        """Note that `by` has taken the place of a login that its provider had ended: once, and for the same account alone.

        Returns the ended login; None if there is nothing to recover, or another login has done it.
        """
        try:
            return self._step(
                ended_id,
                condition="stage = :ended AND end_reason = :reason AND client_id = :client AND provider = :provider"
                " AND subject = :subject AND attribute_not_exists(recovered_by)",
                update="SET recovered_by = :by",
                values={
                    ":ended": "ended",
                    ":reason": "upstream_revoked",
                    ":client": by.client_id,
                    ":provider": by.provider,
                    ":subject": by.subject,
                    ":by": by.grant_id,
                },
                mark_in=SIDE,
            )
        except Refused:
            return None

    def note_missing_scope(self, grant: Grant, missing: tuple[str, ...]) -> bool:
        """Write down what the provider does not grant (any more). False if another instance has, or the login has ended."""
        values: dict[str, object] = {":active": "active", ":missing": missing}
        before = "attribute_not_exists(missing_scope)"
        if grant.missing_scope:
            before, values[":before"] = "missing_scope = :before", grant.missing_scope
        try:
            self._step(
                grant.grant_id,
                condition=f"stage = :active AND {before}",
                update="SET missing_scope = :missing",
                values=values,
                mark_in=SIDE,
            )
        except Refused:
            return False
        return True

    # -- what counts once ------------------------------------------------------------------------------------------

    def use_once(self, name: str, expires_at: int) -> bool:
        """Use up a name, such as that of a signed proof. False when it was used before.

        `name`: any text that tells it from all others; only its hash is kept. `expires_at`: when what it names ends (epoch
        seconds), which the caller has checked: it may end before this write. One conditional write, so of many requests at the
        same moment exactly one gets True.
        """
        by, until = secrets.token_bytes(12), expires_at + USED_MARGIN
        values = {"pk": _once_id(name), "sk": "once", "by": by, "expires_at": until, "delete_at": until}
        try:
            call(
                self._dynamodb.put_item,
                TableName=self._table,
                Item=item(values),
                ConditionExpression="attribute_not_exists(pk) OR expires_at <= :now",
                ExpressionAttributeValues=item({":now": clock.now()}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except ConditionFailed as failed:
            # A write that was repeated because its first answer was lost finds its own work.
            return failed.item is not None and bytes(plain(failed.item).get("by", b"")) == by
        return True

    # -- reads -------------------------------------------------------------------------------------------------------

    def read(self, grant_id: str) -> tuple[Grant | None, Link | None]:
        """The login and its upstream tokens, in one consistent read."""
        answer = call(
            self._dynamodb.query,
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=item({":pk": grant_id}),
            ConsistentRead=True,
        )
        found = {stored["sk"]["S"]: stored for stored in answer["Items"]}
        return (
            grant_of(found["grant"]) if "grant" in found else None,
            link_of(found["upstream"]) if "upstream" in found else None,
        )

    def read_grant(self, grant_id: str) -> Grant | None:
        """The login alone, in one consistent read."""
        answer = call(self._dynamodb.get_item, TableName=self._table, Key=_key(grant_id), ConsistentRead=True)
        return grant_of(answer["Item"]) if "Item" in answer else None

    # -- inside ----------------------------------------------------------------------------------------------------

    def _transact(self, writes: list[dict[str, Any]], mark: bytes | None = None) -> None:
        """All or nothing. `mark`: what the update among the writes leaves behind.

        botocore gives a transaction a token by which DynamoDB knows it again when it is repeated, for ten minutes; the mark
        says the same without that. Errors: Refused.
        """
        try:
            call(self._dynamodb.transact_write_items, TransactItems=writes)
        except ConditionFailed as failed:
            if mark is None or not _is_ours(failed.item, mark):
                raise Refused(None) from None

    def _step(
        self,
        grant_id: str,
        *,
        condition: str,
        update: str,
        values: Mapping[str, object],
        names: Mapping[str, str] | None = None,
        returns: str = "ALL_NEW",
        mark_in: str | None = None,
    ) -> Grant:
        """One conditional write on a login. `mark_in`: it would refuse itself if it were repeated, so it leaves a mark there.

        Errors: Refused; AnswerLost for a marked write that was to return the login as it was before.
        """
        mark = secrets.token_bytes(MARK_BYTES)
        if mark_in:
            update, values = update.replace("SET ", f"SET {mark_in} = :mark, ", 1), {**values, ":mark": mark}
        try:
            stored = update_item(
                self._dynamodb, self._table, _key(grant_id), condition, update, values, names=names, returns=returns
            )
        except ConditionFailed as failed:
            if mark_in and _is_ours(failed.item, mark, mark_in):
                if returns == "ALL_OLD":
                    raise AnswerLost from None
                return grant_of(failed.item)
            raise Refused(grant_of(failed.item) if failed.item else None) from None
        return grant_of(stored)


def _is_ours(stored: Item | None, mark: bytes, mark_in: str = STEP) -> TypeGuard[Item]:
    """Whether the item that refused a write was last written by that very write. botocore repeats a write whose answer was
    lost, and to the repetition its own work looks like somebody else's: like a replay, or a theft."""
    return stored is not None and bytes(plain(stored).get(mark_in, b"")) == mark


_OF_DEVICES = frozenset({"device_until", "poll_interval", "poll_after"})


def _key(grant_id: str, part: str = "grant") -> Item:
    return item({"pk": grant_id, "sk": part})


def _consent_id(subject: str, client_id: str, returns_to: str) -> str:
    """Hashed, as they have any characters and lengths, and so that the key names nobody. The last has no "|" of its own."""
    named = f"{len(subject)}|{subject}|{client_id}|{returns_to}"
    return "consent#" + b64url(hashlib.sha256(named.encode()).digest())


def _consent_values(consent: Consent) -> dict[str, object]:
    return {
        "pk": _consent_id(consent.subject, consent.client_id, consent.returns_to),
        "sk": "consent",
        "client_id": consent.client_id,
        "scope": consent.scope,
        "expires_at": consent.expires_at,
        "delete_at": consent.expires_at,
    }


def _once_id(name: str) -> str:
    return "once#" + b64url(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest())


def _bound(attribute: str, jkt: str | None, values: dict[str, object]) -> str:
    """The condition that what `attribute` binds to a key comes with that key; its placeholder is put into `values`."""
    if jkt is None:
        return f" AND attribute_not_exists({attribute})"
    values[":jkt"] = jkt
    return f" AND (attribute_not_exists({attribute}) OR {attribute} = :jkt)"


def binding(jkt: str | None, bind: bool, generation: str) -> str:
    """The part of an update that binds the refresh token to the key of `_bound`, from this generation on."""
    if not bind or jkt is None:
        return ""
    return f", refresh_jkt = :jkt, bound_from = if_not_exists(bound_from, {generation})"


def contains(attribute: str, wanted: tuple[str, ...], values: dict[str, object]) -> str:
    """The condition that a list attribute has all of `wanted`; their placeholders are put into `values`."""
    names = {f":{attribute}{index}": value for index, value in enumerate(wanted)}
    values |= names
    return "".join(f" AND contains(#{attribute}, {name})" for name in names)


def grant_values(grant: Grant) -> dict[str, object]:
    """All set attributes; empty strings, bytes and lists are left out, numbers and booleans stay (conditions count on them)."""
    values = {f.name: getattr(grant, f.name) for f in fields(grant) if f.name != "grant_id"}
    kept = {name: value for name, value in values.items() if value not in ("", b"", (), None)}
    if not grant.bound_from:
        kept.pop("bound_from")  # what is set by if_not_exists
    if not grant.device_key:
        kept = {name: value for name, value in kept.items() if name not in _OF_DEVICES}
    return kept | {"pk": grant.grant_id, "sk": "grant"}


def grant_of(stored: Item) -> Grant:
    """The login in an item of the table."""
    found = plain(stored)
    values = {f.name: found[f.name] for f in fields(Grant) if f.name in found}
    values |= {name: tuple(values[name]) for name in ("scope", "resource", "missing_scope") if name in values}
    return Grant(grant_id=found["pk"], **({"provider": ""} | values))
