// What the scripts share: settings from standard input, the person, and errors that are expected.
import assert from 'node:assert/strict';
import { text } from 'node:stream/consumers';

export const settings = JSON.parse(await text(process.stdin));

/** Hands a URL to the person; where it led, or undefined when it ended at a page. */
export async function personOpens(url) {
  const answer = await fetch(settings.person, { method: 'POST', body: String(url) });
  const { url: arrived, error } = await answer.json();
  assert.equal(error, undefined, error);
  return arrived ? new URL(arrived) : undefined;
}

/** The error that a promise is rejected with; it must be. */
export async function errorOf(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'this should have failed' });
}

/** Ends all that the person has granted at the sandbox's OpenID provider. */
export async function providerEnds() {
  const order = { provider: 'openid', what: 'grant' };
  const { changed } = await (await fetch(`${settings.issuer}/sandbox/_expire`, { method: 'POST', body: JSON.stringify(order) })).json();
  assert.ok(changed);
}

/** A private JWK of the settings as a key to sign with. */
export function signingKey(jwk) {
  return crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
}

/** Runs the scenario that the settings name and prints its report. */
export async function run(scenarios) {
  console.log(JSON.stringify(await scenarios[settings.scenario]()));
}
