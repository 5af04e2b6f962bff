// The playground: begins a sign-in, takes the answer, holds the session in memory, and reacts to the buttons.
// Tokens are never written to storage; a reload forgets them (the cookie of the other client is the browser's business).

import { decode } from "./jwt.js";
import { OAuthClient, OAuthFailure } from "./oauth.js";
import { ENDED, ERRORS, PROVIDERS, STOPS } from "./texts.js";
import { announce, byId, checkList, showCountdown, showEnded, showFailure, showGenerations, showJourney, showPanel, showProfile, showProviders, showRefreshResult, showTokens, showWireEntry, titleOf } from "./view.js";
import { Wire, shorten } from "./wire.js";

const SCOPE = "openid profile email";
const COOKIE_CLIENT = "playground-cookie";
const COOKIE_SESSION = "playground.cookie-session";
const CHOSEN = "playground.provider";
const SEEN_BY_NOBODY = "The sign-in at the provider, and the broker’s exchange of the provider’s code with the client secret. Neither password nor secret comes here.";

const wire = new Wire(showWireEntry);
const client = new OAuthClient({ issuer: location.origin, redirectUri: `${location.origin}/`, wire });

/** The login: {asked, tokens, refreshTokens (all so far, newest last), rotatedAt, claims}, or null. */
let session = null;
let busy = false;

// ---------------------------------------------------------------- coming to this page

async function open() {
  const answer = takeAnswer();
  const chosen = localStorage.getItem(CHOSEN);
  showProviders(PROVIDERS.some((provider) => provider.name === chosen) ? chosen : PROVIDERS[0].name);
  nameTheButton();
  try {
    if (!answer) return await arrive();
    wire.restore();
    wire.add({ kind: "elsewhere", title: "Out of this page’s sight", note: answer.query.has("code") ? SEEN_BY_NOBODY : "What the person, the provider and the broker did in between." });
    wire.addNavigation("navigation", "The browser comes back", answer.url, "");
    await takeUp(answer.query);
  } catch (error) {
    fail(error);
  }
}

/** The answer in this page's address, if there is one; removed from the address and history, where a code has no business. */
function takeAnswer() {
  const url = location.href;
  const query = new URLSearchParams(location.search);
  if (!query.has("state") && !query.has("code") && !query.has("error")) return null;
  history.replaceState(null, "", location.pathname);
  return { url, query };
}

async function arrive() {
  wire.clear();
  showJourney("prepare");
  const provider = localStorage.getItem(COOKIE_SESSION);
  if (!provider) return offer(null);
  showPanel("working");
  byId("working-text").textContent = "You were signed in with a cookie; asking the broker for a fresh access token.";
  await client.discover();
  const asked = { clientId: COOKIE_CLIENT, cookie: true, provider };
  try {
    const { tokens, checks } = await client.refreshByCookie(asked, "Come back with the cookie");
    await begun(asked, tokens, checks);
  } catch (error) {
    if (!(error instanceof OAuthFailure) || error.code !== "invalid_grant") throw error;
    localStorage.removeItem(COOKIE_SESSION);
    offer(null);
  }
}

async function takeUp(query) {
  showJourney("return");
  showPanel("working");
  byId("working-text").textContent = "Checking the answer and asking the broker for tokens.";
  await client.discover();
  const { transaction, tokens, checks } = await client.finish(query, (step) => showJourney(step));
  if (transaction.cookie) localStorage.setItem(COOKIE_SESSION, transaction.provider);
  await begun(transaction, tokens, checks);
}

function offer(focus) {
  showJourney("prepare");
  showPanel("start", focus);
}

// ---------------------------------------------------------------- signing in

async function signIn(form) {
  const clientId = form.get("client");
  const asked = { clientId, cookie: clientId === COOKIE_CLIENT, provider: form.get("provider"), scope: SCOPE, mistake: form.get("mistake") };
  localStorage.setItem(CHOSEN, asked.provider);
  wire.clear();
  if (!client.metadata) await client.discover();
  const url = await client.begin(asked);
  wire.addNavigation("navigation", "The browser goes to the broker", url, "A navigation, not a fetch: the broker sends it on to the provider.");
  showJourney("authorize");
  byId("working-text").textContent = `Taking you to ${titleOf(asked.provider)}.`;
  showPanel("working");
  location.assign(url);
}

async function begun(asked, tokens, checks) {
  session = { asked, tokens, refreshTokens: tokens.refreshToken ? [tokens.refreshToken] : [], rotatedAt: 0, claims: null };
  byId("refresh-result").replaceChildren();
  byId("session").classList.toggle("by-cookie", Boolean(asked.cookie));
  byId("refresh-text").textContent = asked.cookie
    ? "The refresh token is in a cookie, and changes there at every use. So there is no old one in this page to play with."
    : "Each refresh token is good for one use and brings its successor. The broker forgives a lost answer, and nothing else.";
  showTheSession();
  await readProfile(checks);
  showPanel("session", "profile-title");
  showJourney("session");
  announce(`Signed in as ${byId("person").textContent}.`);
}

async function readProfile(checks) {
  session.claims = await client.userinfo(session.tokens.accessToken);
  // Claims about another subject must not be used (OpenID Connect Core section 5.3.2).
  const { sub } = decode(session.tokens.idToken).claims;
  const same = { name: "userinfo sub", ok: session.claims.sub === sub, detail: "profile and ID token are about the same person" };
  if (!same.ok) throw new OAuthFailure("ID token refused", "The profile is about somebody else.", { where: "page", checks: [...checks, same] });
  showProfile(session.claims, session.asked.provider);
  if (checks) byId("checks").replaceChildren(checkList([...checks, same]));
}

function showTheSession() {
  showTokens(session.tokens, session.asked.cookie);
  showCountdown(session.tokens);
  showGenerations(session.refreshTokens);
  showRefreshButtons();
}

/** Buttons that need an older token say what is missing until there is one. */
function showRefreshButtons() {
  const used = session.refreshTokens.length - 1;
  document.querySelector("[data-do=retry]").disabled = used < 1;
  document.querySelector("[data-do=reuse]").disabled = used < 2;
  byId("about-retry").textContent = used < 1 ? "Possible after a refresh."
    : `As if the last answer had been lost, or from a second tab. The last refresh was ${Math.round((Date.now() - session.rotatedAt) / 1000)} s ago; the broker forgives for 30 s.`;
  byId("about-reuse").textContent = used < 2 ? `Possible after ${used < 1 ? "two refreshes" : "one more refresh"}.` : "As a thief would, with a copy. This ends the login.";
}

// ---------------------------------------------------------------- buttons

const ACTIONS = {
  restart: () => {
    wire.clear();
    session = null;
    offer("start-title");
  },

  userinfo: async () => {
    await readProfile(null);
    announce("The profile was read again.");
  },

  refresh: async () => {
    const before = session.tokens.refreshToken;
    const { tokens } = session.asked.cookie
      ? await client.refreshByCookie(session.asked, "Refresh with the cookie")
      : await client.refresh(session.asked, before, "Refresh");
    keep(tokens);
    if (session.asked.cookie) {
      showRefreshResult(true, "Refreshed", "A new access token is here, and the cookie holds the next refresh token.", []);
      return;
    }
    session.refreshTokens.push(tokens.refreshToken);
    session.rotatedAt = Date.now();
    showTheSession();
    showRefreshResult(true, "Refreshed", "The old token is used up; the new one has taken its place.", [["old", shorten(before)], ["new", shorten(tokens.refreshToken)]]);
  },

  retry: async () => {
    const old = session.refreshTokens[session.refreshTokens.length - 2];
    const held = session.tokens.refreshToken;
    const { tokens } = await client.refresh(session.asked, old, "Refresh again with the old token");
    const equal = tokens.refreshToken === held;
    keep(tokens);
    showRefreshResult(equal, equal ? "The same successor" : "Another successor",
      equal ? `All ${held.length} characters are equal. The broker stored no token to do so: it computes the successor. So a lost answer costs nothing, and two tabs do not log each other out.`
        : "The broker made a second successor: that must not happen.",
      [["sent", shorten(old)], ["held", shorten(held)], ["answer", shorten(tokens.refreshToken)]]);
  },

  reuse: async () => {
    await client.refresh(session.asked, session.refreshTokens[0], "Refresh with an older token");
    showRefreshResult(false, "The broker took an older token", "That must not happen.", []);
  },

  signout: async () => {
    await client.revoke(session.asked, session.tokens.refreshToken);
    localStorage.removeItem(COOKIE_SESSION);
    end(ENDED.signedOut, [], "done");
  },

  probe: async () => {
    try {
      await client.userinfo(session.tokens.accessToken);
      byId("ended-probe").textContent = "The broker still answers: that must not happen.";
    } catch (error) {
      if (!(error instanceof OAuthFailure)) throw error;
      byId("ended-probe").textContent = `/userinfo answers ${error.status} ${error.code}: ${error.description}.`;
    }
  },
};

function keep(tokens) {
  session.tokens = tokens;
  showTheSession();
}

function end(text, facts, state) {
  showEnded(text, facts);
  showJourney("session", state);
  announce(text[0]);
}

/** A refusal of a token that was good once is the end of the login; after any other failure the session goes on. */
function failInSession(error, action) {
  if (!(error instanceof OAuthFailure)) console.error(error);
  const failure = asFailure(error);
  if (failure.code !== "invalid_grant" && failure.code !== "invalid_token") {
    const [title] = ERRORS[failure.code] || [failure.code];
    byId("trouble").textContent = `${title}: ${failure.description}`;
    return;
  }
  localStorage.removeItem(COOKIE_SESSION);
  const reused = action === "reuse" || action === "retry";
  end(reused ? ENDED.reuse : ENDED.expired, [["status", String(failure.status)], ["error", failure.code], ["error_description", failure.description]], "failed");
}

function fail(error) {
  if (!(error instanceof OAuthFailure)) console.error(error);
  const failure = asFailure(error);
  showJourney(failure.where === "redirect" ? STOPS[failure.code] || "callback" : failure.where === "token" ? "token" : "return", "failed");
  showFailure(failure);
  announce(byId("failure-title").textContent);
}

function asFailure(error) {
  return error instanceof OAuthFailure ? error : new OAuthFailure("no answer", "No answer came from the broker.");
}

/** One thing at a time: a second press while the first is on its way does nothing. */
async function once(action, work) {
  if (busy) return;
  busy = true;
  document.body.setAttribute("aria-busy", "true");
  byId("trouble").textContent = "";
  try {
    await work();
  } catch (error) {
    if (session) failInSession(error, action);
    else fail(error);
  } finally {
    busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

function nameTheButton() {
  const chosen = document.querySelector("[name=provider]:checked");
  byId("sign-in").textContent = `Sign in with ${titleOf(chosen.value)}`;
}

byId("start-form").addEventListener("change", nameTheButton);
byId("start-form").addEventListener("submit", (event) => {
  event.preventDefault();
  once("sign-in", () => signIn(new FormData(event.target)));
});
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) once(button.dataset.do, ACTIONS[button.dataset.do]);
});
// Back from the provider with the browser's own button: the page may come as it was left, so the choice is offered anew.
window.addEventListener("pageshow", (event) => {
  if (event.persisted && !session) offer("start-title");
});
setInterval(() => {
  if (!session || byId("session").hidden) return;
  showCountdown(session.tokens);
  showRefreshButtons();
}, 1000);

open();
