// JSON Web Tokens: taken apart for showing, and ID tokens checked (OpenID Connect Core section 3.1.3.7).
// Never decides anything by a claim of a token whose signature was not verified.

const ALGORITHMS = {
  RS256: { key: { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }, verify: { name: "RSASSA-PKCS1-v1_5" }, kty: "RSA" },
  ES256: { key: { name: "ECDSA", namedCurve: "P-256" }, verify: { name: "ECDSA", hash: "SHA-256" }, kty: "EC" },
};
const CLOCK_SKEW = 60;

/** Base64url without padding (RFC 7515 section 2). `bytes` is an ArrayBuffer or a Uint8Array. */
export function base64url(bytes) {
  const text = String.fromCharCode(...new Uint8Array(bytes));
  return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** SHA-256 of an ASCII text, as bytes. */
export async function sha256(text) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

/** {header, claims} of a JWT, or null for anything else: an opaque access token is none. */
export function decode(token) {
  const parts = token.split(".");
  if (parts.length !== 3) return null;
  try {
    return { header: parsePart(parts[0]), claims: parsePart(parts[1]) };
  } catch {
    return null;
  }
}

/**
 * Check an ID token. Returns a list of {name, ok, detail}; the token may be used only when all are ok.
 * expected: {issuer, clientId, nonce, accessToken, keys, now}; nonce undefined after a refresh, whose ID token has none
 * (OpenID Connect Core section 12.2); keys are the members of the JWK Set; now in seconds.
 */
export async function checkIdToken(token, expected) {
  const decoded = decode(token);
  if (!decoded) return [{ name: "ID token", ok: false, detail: "it is not a JWT" }];
  const { header, claims } = decoded;
  const audience = [].concat(claims.aud);
  const checks = [
    { name: "ID token signature", ok: await signatureIsGood(token, header, expected.keys), detail: `${header.alg}, a key of the broker’s JWK Set` },
    { name: "ID token iss", ok: claims.iss === expected.issuer, detail: String(claims.iss) },
    { name: "ID token aud", ok: audience.length === 1 && audience[0] === expected.clientId, detail: audience.join(" ") },
    { name: "ID token exp", ok: claims.exp > expected.now - CLOCK_SKEW, detail: "not expired" },
    { name: "ID token at_hash", ok: claims.at_hash === (await halfHash(expected.accessToken)), detail: "belongs to this access token" },
  ];
  if (expected.nonce !== undefined) {
    checks.push({ name: "ID token nonce", ok: claims.nonce === expected.nonce, detail: "the one this page made" });
  }
  return checks;
}

async function signatureIsGood(token, header, keys) {
  // The algorithm is chosen from a list and must fit the key: never "none", never a key of another type (RFC 8725).
  const algorithm = Object.prototype.hasOwnProperty.call(ALGORITHMS, header.alg) ? ALGORITHMS[header.alg] : null;
  const jwk = algorithm && keys.find((key) => key.kid === header.kid && key.kty === algorithm.kty);
  if (!jwk) return false;
  const key = await crypto.subtle.importKey("jwk", jwk, algorithm.key, false, ["verify"]);
  const end = token.lastIndexOf(".");
  return crypto.subtle.verify(algorithm.verify, key, bytesOf(token.slice(end + 1)), new TextEncoder().encode(token.slice(0, end)));
}

async function halfHash(text) {
  return base64url((await sha256(text)).slice(0, 16));
}

function bytesOf(part) {
  return Uint8Array.from(atob(part.replace(/-/g, "+").replace(/_/g, "/")), (character) => character.charCodeAt(0));
}

function parsePart(part) {
  return JSON.parse(new TextDecoder().decode(bytesOf(part)));
}
