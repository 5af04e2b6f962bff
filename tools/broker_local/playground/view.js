// Puts things on the page. Text only ever enters as text nodes, so nothing that came over the wire can become markup.

import { decode } from "./jwt.js";
import { CLAIMS, ERRORS, OTHER_ERROR, PROVIDERS, STEPS, TIMES } from "./texts.js";
import { shorten } from "./wire.js";

const PANELS = ["start", "working", "failure", "ended", "session"];

export const byId = (id) => document.getElementById(id);

/** An element with attributes and children (nodes or texts; null is left out). */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) made.setAttribute(attribute, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Show one panel and hide the others; with `focus`, its heading gets the focus, so that a screen reader reads on there. */
export function showPanel(name, focus = null) {
  for (const panel of PANELS) byId(panel).hidden = panel !== name;
  if (focus) byId(focus).focus();
}

export function announce(text) {
  byId("announcement").textContent = text;
}

const LANES = { page: "This page", broker: "Broker", provider: "Provider" };
const STEP_WORDS = { done: "done", current: "you are here", failed: "stopped here" };

/** The map of the journey. `name`: the step it has come to; `state` of that step: current, failed or done. */
export function showJourney(name, state = "current") {
  const at = STEPS.findIndex((step) => step.name === name);
  byId("steps").replaceChildren(
    ...STEPS.map((step, index) => {
      const mine = index === at ? state : index < at ? "done" : "ahead";
      const next = STEPS[index + 1];
      const leg = next ? `to-${step.lane}-${next.lane}${index < at ? " passed" : ""}` : "last";
      const words = STEP_WORDS[mine];
      return element("li", { class: `step ${step.lane} ${mine} ${leg}`, ...(index === at ? { "aria-current": "step" } : {}) },
        element("span", { class: "dot", "aria-hidden": "true" }),
        element("p", {}, element("b", {}, step.title), element("span", { class: "lane" }, LANES[step.lane]), element("span", { class: "text" }, step.text), words ? element("span", { class: "unseen" }, ` (${words})`) : null));
    }),
  );
}

export function showProviders(chosen) {
  byId("providers").replaceChildren(
    ...PROVIDERS.map((provider) => {
      const radio = element("input", { type: "radio", name: "provider", value: provider.name });
      radio.checked = provider.name === chosen;
      return element("label", { class: "choice" }, radio, element("span", {}, element("b", {}, provider.title), element("span", { class: "soft" }, provider.remark)));
    }),
  );
}

export function titleOf(provider) {
  const known = PROVIDERS.find((candidate) => candidate.name === provider);
  return known ? known.title : provider;
}

// ---------------------------------------------------------------- failure and end

export function showFailure(failure) {
  const [title, text] = ERRORS[failure.code] || OTHER_ERROR;
  byId("failure-title").textContent = title;
  byId("failure-text").textContent = text;
  const params = failure.params || {};
  byId("failure-facts").replaceChildren(...facts([
    ["error", failure.code],
    ["error_description", failure.description || "none"],
    ["status", failure.where === "token" ? String(failure.status) : null],
    ["state", params.state ? shorten(params.state) : null],
    ["iss", params.iss || null],
  ]));
  byId("failure-checks").replaceChildren(checkList(failure.checks || []));
  showPanel("failure", "failure-title");
}

export function showEnded([title, text], pairs) {
  byId("ended-title").textContent = title;
  byId("ended-text").textContent = text;
  byId("ended-facts").replaceChildren(...facts(pairs));
  byId("ended-probe").textContent = "";
  showPanel("ended", "ended-title");
}

function facts(pairs) {
  return pairs.filter(([, value]) => value !== null).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
}

export function checkList(checks) {
  return element("ul", { class: "checks" }, checks.map((check) => element("li", { class: check.ok ? "good" : "wrong" },
    element("span", { class: "mark", "aria-hidden": "true" }, check.ok ? "✓" : "✗"),
    element("span", {}, element("b", {}, check.name), element("span", { class: "unseen" }, check.ok ? " is right: " : " is wrong: "), element("span", { class: "soft" }, check.detail)))));
}

// ---------------------------------------------------------------- profile and tokens

export function showProfile(claims, provider) {
  const name = claims.name || [claims.given_name, claims.family_name].filter(Boolean).join(" ") || claims.preferred_username || claims.sub;
  byId("person").textContent = name;
  byId("person-by").textContent = `signed in with ${titleOf(provider)}`;
  byId("initials").textContent = claims.name || claims.given_name ? name.split(/\s+/).map((word) => Array.from(word)[0]).slice(0, 2).join("") : "?";
  byId("profile").replaceChildren(...Object.entries(claims).map(([claim, value]) => row(claim, plain(value), null)));
  byId("profile-note").textContent = Object.keys(claims).length === 1
    ? "This provider has no profile to ask for, so /userinfo knows the subject alone."
    : "From /userinfo: the broker asked the provider just now, and put its answer into the standard’s names.";
}

export function showTokens(tokens, cookie) {
  const open = new Set(Array.from(document.querySelectorAll("#tokens details[open]"), (details) => details.dataset.token));
  const parts = [
    tokenDetails("access", "Access token", tokens.accessToken, "For the broker and for APIs. An app passes it on and does not look inside; this page does, to show you."),
    tokenDetails("id", "ID token", tokens.idToken, "For this page: says who signed in. It was checked before it was used."),
    tokenDetails("refresh", "Refresh token", tokens.refreshToken, cookie
      ? "In an HttpOnly cookie: the browser sends it to the broker, and no script can read it. Not even this page knows it."
      : "For the broker’s /token alone. A random secret with a check value, with nothing inside to read."),
  ];
  byId("tokens").replaceChildren(...parts);
  for (const details of parts) details.open = open.has(details.dataset.token);
}

function tokenDetails(key, title, token, text) {
  const decoded = token && decode(token);
  return element("details", { class: "token", "data-token": key },
    element("summary", {}, element("b", {}, title), element("code", {}, token ? shorten(token) : "not readable here")),
    element("p", { class: "soft" }, text),
    token ? rawToken(token) : null,
    decoded ? claimTable("Header", decoded.header) : null,
    decoded ? claimTable("Claims", decoded.claims) : null);
}

function rawToken(token) {
  const parts = token.split(".");
  const pieces = parts.length === 3 ? parts.map((part, index) => element("span", { class: `part-${index}` }, (index ? "." : "") + part)) : [token];
  return element("pre", { class: "raw", tabindex: "0", "aria-label": "The whole token" }, pieces);
}

function claimTable(caption, claims) {
  return element("table", { class: "claims" }, element("caption", {}, caption),
    element("tbody", {}, Object.entries(claims).map(([name, value]) => row(name, TIMES.has(name) ? timeText(value) : plain(value), CLAIMS[name]))));
}

function row(name, value, meaning) {
  return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value, meaning ? element("span", { class: "meaning" }, meaning) : null));
}

function plain(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function timeText(seconds) {
  return `${new Date(seconds * 1000).toLocaleTimeString()} (${seconds})`;
}

/** The time that the access token has left. */
export function showCountdown(tokens) {
  const left = Math.max(0, tokens.expiresIn - (Date.now() - tokens.receivedAt) / 1000);
  const whole = Math.ceil(left);
  byId("countdown").textContent = whole ? `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s left` : "expired: refresh to go on";
  byId("bar").style.width = `${(100 * left) / tokens.expiresIn}%`;
}

// ---------------------------------------------------------------- refresh

/** The refresh tokens so far, oldest first. */
export function showGenerations(refreshTokens) {
  const last = refreshTokens.length - 1;
  byId("generations").replaceChildren(...refreshTokens.map((token, index) => {
    const state = index === last ? "newest" : index === last - 1 ? "old" : "older";
    return element("li", { class: state }, element("code", {}, shorten(token)), element("span", {}, state));
  }));
}

/** What a refresh did. rows: [label, text] pairs. */
export function showRefreshResult(good, title, text, rows) {
  byId("refresh-result").replaceChildren(element("div", { class: good ? "good" : "wrong" },
    element("p", {}, element("b", {}, title)), element("p", {}, text), element("dl", { class: "facts" }, facts(rows))));
}

// ---------------------------------------------------------------- wire

export function showWireEntry(entry) {
  const list = byId("wire");
  if (!entry) {
    list.replaceChildren();
    return;
  }
  const item = element("li", { class: entry.kind, "data-entry": entry.id }, wireContent(entry));
  const before = list.querySelector(`[data-entry="${entry.id}"]`);
  if (before) before.replaceWith(item);
  else list.append(item);
  list.parentElement.scrollTop = list.parentElement.scrollHeight; // where the list has a scroll bar of its own
}

function wireContent(entry) {
  if (entry.kind === "elsewhere") return [element("p", { class: "wire-title" }, entry.title), element("p", { class: "soft" }, entry.note)];
  const outcome = entry.failed || (entry.status ? `${entry.status} · ${entry.milliseconds} ms` : entry.kind === "fetch" ? "…" : "");
  const bad = entry.failed || entry.status >= 400;
  const address = entry.path.replace(location.origin, "") || "/";
  return [
    element("p", { class: "wire-title" }, element("b", {}, entry.title), outcome ? element("span", { class: bad ? "outcome bad" : "outcome" }, outcome) : null),
    element("p", { class: "wire-line" }, element("span", { class: "method" }, entry.method), element("code", {}, address)),
    entry.note ? element("p", { class: "soft" }, entry.note) : null,
    part("Headers", entry.headers),
    part(entry.kind === "fetch" ? "Form" : "Query", entry.sent),
    part("Answer", [...(entry.challenge ? [["WWW-Authenticate", entry.challenge]] : []), ...(entry.got || [])]),
    entry.empty ? element("p", { class: "soft" }, "Answer: empty") : null,
  ];
}

function part(title, pairs) {
  if (!pairs || !pairs.length) return null;
  return element("details", {}, element("summary", {}, title), element("dl", { class: "pairs" }, facts(pairs)));
}
