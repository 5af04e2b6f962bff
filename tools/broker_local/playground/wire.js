// The journal of everything this page sends and gets. Kept for this tab, so that it survives the way to the provider.
// Tokens, codes and verifiers enter it shortened: the journal must never be a second place where credentials lie.

const STORE = "playground.wire";
const LONG = 26;
const CREDENTIALS = new Set([
  "access_token", "refresh_token", "id_token", "token", "code", "code_verifier", "code_challenge", "state", "nonce",
]);

/** A long value as its beginning and end. Refresh tokens of one login begin alike, so the end is what tells them apart. */
export function shorten(text) {
  return text.length <= LONG ? text : `${text.slice(0, 8)}…${text.slice(-8)}`;
}

/** [name, value] pairs of a request or answer, credentials shortened. */
function shown(pairs) {
  return Array.from(pairs, ([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return [name, CREDENTIALS.has(name) ? shorten(text) : text];
  });
}

export class Wire {
  /** onChange(entry) is called for every entry, new or completed; onChange(null) when all were removed. */
  constructor(onChange) {
    this.onChange = onChange;
    this.entries = [];
  }

  /** Bring back what this tab wrote before it left for the provider. */
  restore() {
    try {
      this.entries = JSON.parse(sessionStorage.getItem(STORE)) || [];
    } catch {
      this.entries = [];
    }
    this.entries.forEach((entry) => this.onChange(entry));
  }

  clear() {
    this.entries = [];
    this.save();
    this.onChange(null);
  }

  /** The browser itself goes somewhere, or comes back: `url` with its query, which becomes the entry's parameters. */
  addNavigation(kind, title, url, note) {
    const { origin, pathname, searchParams } = new URL(url);
    this.add({ kind, title, method: "GET", path: origin + pathname, sent: shown(searchParams), note });
  }

  /**
   * fetch, recorded. request: {title, method, url, headers, form, credentials}; form is [name, value] pairs.
   * Returns {status, headers, document}; document is null unless the answer is a JSON object. Errors: TypeError, when
   * there was no answer.
   */
  async send({ title, method = "GET", url, headers = {}, form = null, credentials = "omit" }) {
    const visible = Object.entries(headers).map(([name, value]) => [name, value.replace(/^Bearer (.+)$/, (_, token) => `Bearer ${shorten(token)}`)]);
    const entry = this.add({ kind: "fetch", title, method, path: url, headers: visible, sent: shown(form || []) });
    const started = performance.now();
    try {
      const body = form ? new URLSearchParams(form) : undefined;
      const response = await fetch(url, { method, headers, body, credentials, cache: "no-store", redirect: "error" });
      const text = await response.text();
      const document = parseObject(text);
      Object.assign(entry, {
        status: response.status,
        challenge: response.headers.get("www-authenticate") || undefined,
        got: document ? shown(Object.entries(document)) : [],
        empty: text === "",
      });
      return { status: response.status, headers: response.headers, document };
    } catch (error) {
      entry.failed = "No answer came.";
      throw error;
    } finally {
      entry.milliseconds = Math.round(performance.now() - started);
      this.save();
      this.onChange(entry);
    }
  }

  add(fields) {
    const entry = { id: this.entries.length + 1, at: Date.now(), ...fields };
    this.entries.push(entry);
    this.save();
    this.onChange(entry);
    return entry;
  }

  save() {
    sessionStorage.setItem(STORE, JSON.stringify(this.entries));
  }
}

function parseObject(text) {
  try {
    const value = JSON.parse(text);
    return value && typeof value === "object" && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}
