// An ordinary public client of the broker: authorization code with PKCE (RFC 6749, 7636, 9207, OpenID Connect Core).
// What a library does for an application, written out to be read. Knows nothing of the page around it.

import { base64url, checkIdToken, sha256 } from "./jwt.js";

const TRANSACTION = "playground.transaction.";
const TRANSACTION_LIFETIME = 10 * 60 * 1000;

/** An answer that says no, or that this client does not accept. `checks` holds what was looked at until then. */
export class OAuthFailure extends Error {
  constructor(code, description, { where, status, checks = [], params = null, transaction = null } = {}) {
    super(code);
    Object.assign(this, { code, description, where, status, checks, params, transaction });
  }
}

export class OAuthClient {
  /** issuer: where the metadata is; redirectUri: as registered; wire: sends requests (see wire.js). */
  constructor({ issuer, redirectUri, wire }) {
    Object.assign(this, { issuer, redirectUri, wire, metadata: null, keys: null });
  }

  /** Read the endpoints from the discovery document. The issuer in it must be the one asked (RFC 8414 section 3.3). */
  async discover() {
    const url = `${this.issuer}/.well-known/openid-configuration`;
    const { status, document } = await this.wire.send({ title: "Find the endpoints", url });
    if (status !== 200 || !document) throw new OAuthFailure("no answer", `The broker answered with status ${status}.`, { status });
    if (document.issuer !== this.issuer) {
      throw new OAuthFailure("wrong issuer", `This broker calls itself ${document.issuer}.`, { params: { issuer: document.issuer } });
    }
    this.metadata = document;
  }

  /**
   * Begin a login: remembers the transaction in this tab under its state, so that two tabs do not disturb each other,
   * and returns the URL to send the browser to. asked: {clientId, cookie, provider, scope, mistake}.
   */
  async begin(asked) {
    forgetOldTransactions();
    const transaction = { ...asked, state: random(16), nonce: random(16), verifier: random(32), startedAt: Date.now() };
    const parameters = new URLSearchParams({
      response_type: "code",
      client_id: asked.clientId,
      redirect_uri: asked.mistake === "redirect_uri" ? `${this.redirectUri}not-registered` : this.redirectUri,
      scope: asked.scope,
      provider: asked.provider,
      state: transaction.state,
      nonce: transaction.nonce,
    });
    if (asked.mistake !== "no_pkce") {
      parameters.set("code_challenge", base64url(await sha256(transaction.verifier)));
      parameters.set("code_challenge_method", "S256");
    }
    const kept = asked.mistake === "state" ? random(16) : transaction.state;
    sessionStorage.setItem(TRANSACTION + kept, JSON.stringify(transaction));
    return `${this.metadata.authorization_endpoint}?${parameters}`;
  }

  /**
   * The answer in `query` (the parameters the browser came back with): checks it and swaps the code for tokens.
   * Returns {transaction, tokens, checks}. Errors: OAuthFailure. progress(step) is told how far it got.
   */
  async finish(query, progress) {
    const params = Object.fromEntries(query);
    const transaction = takeTransaction(params.state);
    const checks = [
      { name: "state", ok: transaction !== null, detail: transaction ? "a sign-in that this tab began" : "no sign-in of this tab" },
      { name: "iss", ok: params.iss === this.issuer, detail: params.iss || "missing" },
    ];
    const about = { where: "redirect", checks, params, transaction };
    // An answer to nothing is not ours (login CSRF); one of another server is a mix-up (RFC 9207 section 2.4).
    if (!transaction) throw new OAuthFailure("state mismatch", "This answer belongs to no sign-in that this tab began, so the page threw it away.", { ...about, where: "page" });
    if (params.iss !== this.issuer) throw new OAuthFailure("issuer mismatch", "This answer comes from another server than the one this page asked.", { ...about, where: "page" });
    if (params.error !== undefined) throw new OAuthFailure(params.error, params.error_description || "", about);
    progress("token");
    const verifier = transaction.mistake === "verifier" ? random(32) : transaction.verifier;
    const form = [["grant_type", "authorization_code"], ["code", params.code], ["redirect_uri", this.redirectUri], ["code_verifier", verifier]];
    const tokens = await this.tokenRequest("Swap the code for tokens", this.metadata.token_endpoint, transaction, form, about);
    checks.push(...(await this.checkedIdToken(tokens, transaction, transaction.nonce, about)));
    return { transaction, tokens, checks };
  }

  /** The refresh_token grant. Returns {tokens, checks}. Errors: OAuthFailure. */
  async refresh(asked, refreshToken, title) {
    const form = [["grant_type", "refresh_token"], ["refresh_token", refreshToken]];
    const tokens = await this.tokenRequest(title, this.metadata.token_endpoint, asked, form, { where: "token" });
    return { tokens, checks: await this.checkedIdToken(tokens, asked, undefined, {}) };
  }

  /** The browser's door: the refresh token is in a cookie that no script can read, and stays there. */
  async refreshByCookie(asked, title) {
    const tokens = await this.tokenRequest(title, `${this.issuer}/refresh`, asked, [], { where: "token" });
    return { tokens, checks: await this.checkedIdToken(tokens, asked, undefined, {}) };
  }

  /** The person's claims. Returns them. Errors: OAuthFailure. */
  async userinfo(accessToken) {
    const { status, document } = await this.wire.send({
      title: "Read the profile",
      url: this.metadata.userinfo_endpoint,
      headers: { Authorization: `Bearer ${accessToken}` },
    });
    if (status !== 200 || !document) throw failureOf(status, document, "userinfo");
    return document;
  }

  /** Sign out (RFC 7009). Without a token the cookie says which login. Errors: OAuthFailure. */
  async revoke(asked, refreshToken) {
    const form = [["client_id", asked.clientId]];
    if (refreshToken) form.unshift(["token", refreshToken], ["token_type_hint", "refresh_token"]);
    const { status, document } = await this.wire.send({
      title: "Sign out", method: "POST", url: this.metadata.revocation_endpoint, form, ...cookieProofs(asked),
    });
    if (status !== 200) throw failureOf(status, document, "revoke");
  }

  async tokenRequest(title, url, asked, form, about) {
    const { status, document } = await this.wire.send({
      title, method: "POST", url, form: [...form, ["client_id", asked.clientId]], ...cookieProofs(asked),
    });
    if (status !== 200 || !document || !document.access_token) {
      throw Object.assign(failureOf(status, document, "token"), { checks: about.checks || [], transaction: about.transaction || null });
    }
    return {
      accessToken: document.access_token,
      refreshToken: document.refresh_token || null,
      idToken: document.id_token || null,
      scope: document.scope,
      receivedAt: Date.now(),
      expiresIn: document.expires_in,
    };
  }

  async checkedIdToken(tokens, asked, nonce, about) {
    const now = Math.floor(Date.now() / 1000);
    const expected = { issuer: this.issuer, clientId: asked.clientId, nonce, accessToken: tokens.accessToken, keys: await this.signingKeys(), now };
    const checks = await checkIdToken(tokens.idToken || "", expected);
    const bad = checks.find((check) => !check.ok);
    if (bad) {
      throw new OAuthFailure("ID token refused", `The check of ${bad.name} failed, so the page threw the tokens away.`, {
        ...about, where: "page", checks: [...(about.checks || []), ...checks],
      });
    }
    return checks;
  }

  async signingKeys() {
    if (!this.keys) {
      const { document } = await this.wire.send({ title: "Read the signing keys", url: this.metadata.jwks_uri });
      this.keys = (document && document.keys) || [];
    }
    return this.keys;
  }
}

/** What /refresh, /token and /revoke want of a page whose refresh token is in a cookie: the cookie, and a header that a foreign page cannot send. */
function cookieProofs(asked) {
  return asked.cookie ? { credentials: "include", headers: { "X-Requested-With": "playground" } } : {};
}

function failureOf(status, document, where) {
  const { error = `status ${status}`, error_description: description = "" } = document || {};
  return new OAuthFailure(error, description, { where, status });
}

function random(bytes) {
  return base64url(crypto.getRandomValues(new Uint8Array(bytes)));
}

/** Read and remove: a transaction is good for one answer. */
function takeTransaction(state) {
  const stored = sessionStorage.getItem(TRANSACTION + state);
  sessionStorage.removeItem(TRANSACTION + state);
  return stored && JSON.parse(stored);
}

function forgetOldTransactions() {
  for (const name of Object.keys(sessionStorage)) {
    if (!name.startsWith(TRANSACTION)) continue;
    if (JSON.parse(sessionStorage.getItem(name)).startedAt < Date.now() - TRANSACTION_LIFETIME) sessionStorage.removeItem(name);
  }
}
