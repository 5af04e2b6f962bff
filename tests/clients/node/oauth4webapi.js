// oauth4webapi against the broker, call by call as its own examples do it; every signature that it can verify is verified.
import * as oauth from 'oauth4webapi';
import { errorOf, personOpens, providerEnds, run, settings, signingKey } from './script.js';

const SCOPE = 'openid profile email offline_access';
const INSECURE = { [oauth.allowInsecureRequests]: true };

const client = {
  client_id: settings.client_id,
  ...(settings.id_token_alg && { id_token_signed_response_alg: settings.id_token_alg }),
  ...(settings.introspection_alg && { introspection_signed_response_alg: settings.introspection_alg }),
};

async function authentication() {
  switch (settings.auth) {
    case 'client_secret_basic':
      return oauth.ClientSecretBasic(settings.client_secret);
    case 'client_secret_post':
      return oauth.ClientSecretPost(settings.client_secret);
    case 'private_key_jwt':
      return oauth.PrivateKeyJwt({ key: await signingKey(settings.jwk), kid: settings.jwk.kid });
    default:
      return oauth.None();
  }
}

async function discovered() {
  const issuer = new URL(settings.issuer);
  const response = await oauth.discoveryRequest(issuer, { algorithm: settings.algorithm ?? 'oidc', ...INSECURE });
  const as = await oauth.processDiscoveryResponse(issuer, response);
  return { as, auth: await authentication(), options: { ...INSECURE } };
}

/** Once more with the nonce that the server asked for (RFC 9449 section 8), as the library leaves that to its caller. */
async function withNonce(request, process) {
  try {
    return await process(await request());
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    return process(await request());
  }
}

/** The ID token's signature; the library leaves it to its caller where TLS vouches for the answer. */
async function verified(as, response, tokens) {
  await oauth.validateApplicationLevelSignature(as, response, INSECURE);
  return tokens;
}

function inBrowser(as, parameters) {
  const url = new URL(as.authorization_endpoint);
  url.search = new URLSearchParams(parameters);
  return url;
}

async function push({ as, auth, options }, parameters) {
  const { request_uri } = await withNonce(
    () => oauth.pushedAuthorizationRequest(as, client, auth, parameters, options),
    (response) => oauth.processPushedAuthorizationResponse(as, client, response),
  );
  return inBrowser(as, { client_id: client.client_id, request_uri });
}

async function logIn(at, pushing) {
  const { as, auth, options } = at;
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const nonce = oauth.generateRandomNonce();
  const parameters = {
    client_id: client.client_id,
    redirect_uri: settings.redirect_uri,
    response_type: 'code',
    scope: SCOPE,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
  };
  const url = pushing ? await push(at, parameters) : inBrowser(as, parameters);
  const callback = oauth.validateAuthResponse(as, client, await personOpens(url), state);
  return withNonce(
    () => oauth.authorizationCodeGrantRequest(as, client, auth, callback, settings.redirect_uri, verifier, options),
    async (response) => verified(as, response, await oauth.processAuthorizationCodeResponse(
      as, client, response, { expectedNonce: nonce, requireIdToken: true },
    )),
  );
}

async function profile({ as, options }, accessToken, sub) {
  return withNonce(
    () => oauth.userInfoRequest(as, client, accessToken, options),
    (response) => oauth.processUserInfoResponse(as, client, sub, response),
  );
}

async function refresh({ as, auth, options }, refreshToken) {
  return withNonce(
    () => oauth.refreshTokenGrantRequest(as, client, auth, refreshToken, options),
    (response) => oauth.processRefreshTokenResponse(as, client, response),
  );
}

async function introspect({ as, auth }, token) {
  const signed = Boolean(settings.introspection_alg);
  const options = { ...INSECURE, requestJwtResponse: signed };
  const response = await oauth.introspectionRequest(as, client, auth, token, options);
  const answer = await oauth.processIntrospectionResponse(as, client, response);
  if (signed) await oauth.validateApplicationLevelSignature(as, response, INSECURE);
  return { ...answer, media_type: response.headers.get('content-type') };
}

async function live(at, tokens) {
  const { as, auth, options } = at;
  const { sub, nonce } = oauth.getValidatedIdTokenClaims(tokens);
  const before = await profile(at, tokens.access_token, sub);
  const refreshed = await refresh(at, tokens.refresh_token);
  const after = await profile(at, refreshed.access_token, sub);
  const introspected = settings.auth === 'none' ? null : await introspect(at, refreshed.access_token);
  await oauth.processRevocationResponse(
    await oauth.revocationRequest(as, client, auth, refreshed.refresh_token, options),
  );
  const refused = await errorOf(refresh(at, refreshed.refresh_token));
  const unknown = await errorOf(profile(at, refreshed.access_token, sub));
  return {
    sub,
    name: before.name,
    email: after.email,
    nonce: Boolean(nonce),
    token_type: tokens.token_type,
    rotated: refreshed.refresh_token !== tokens.refresh_token,
    introspected,
    after_revocation: { refresh: refused.error, userinfo: unknown.status },
  };
}

async function login() {
  const at = await discovered();
  return live(at, await logIn(at, false));
}

async function pushed() {
  const at = await discovered();
  return live(at, await logIn(at, true));
}

async function dpop() {
  const at = await discovered();
  at.options.DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'));
  return live(at, await logIn(at, true));
}

async function device() {
  const at = await discovered();
  const { as, auth, options } = at;
  const asked = await oauth.deviceAuthorizationRequest(as, client, auth, { scope: SCOPE }, options);
  const started = await oauth.processDeviceAuthorizationResponse(as, client, asked);
  const waiting = await errorOf(poll(at, started.device_code));
  if (waiting.error !== 'authorization_pending') throw waiting;
  await personOpens(started.verification_uri_complete);
  await new Promise((resolve) => setTimeout(resolve, (started.interval ?? 5) * 1000));
  return live(at, await poll(at, started.device_code));
}

async function poll({ as, auth, options }, deviceCode) {
  const response = await oauth.deviceCodeGrantRequest(as, client, auth, deviceCode, options);
  return oauth.processDeviceCodeResponse(as, client, response);
}

async function refused() {
  const { as } = await discovered();
  const url = inBrowser(as, {
    client_id: client.client_id,
    redirect_uri: settings.redirect_uri,
    response_type: 'code',
    scope: SCOPE,
    code_challenge: await oauth.calculatePKCECodeChallenge(oauth.generateRandomCodeVerifier()),
    code_challenge_method: 'S256',
    prompt: 'none',
  });
  const arrived = await personOpens(url);
  try {
    oauth.validateAuthResponse(as, client, arrived);
  } catch (error) {
    return { error: error.error };
  }
  throw new Error('this should have been refused');
}

/** The broker's userinfo as a protected resource (RFC 9728). */
async function resource() {
  const identifier = new URL(settings.issuer);
  const response = await oauth.resourceDiscoveryRequest(identifier, INSECURE);
  return oauth.processResourceDiscoveryResponse(identifier, response);
}

/** Where to reconnect once the provider has ended the access, as docs/links.md reads it. */
async function reconnect() {
  const at = await discovered();
  const tokens = await logIn(at, false);
  await providerEnds();
  const atUserinfo = await errorOf(profile(at, tokens.access_token, oauth.getValidatedIdTokenClaims(tokens).sub));
  const atRefresh = await errorOf(refresh(at, tokens.refresh_token));
  return { userinfo: (await atUserinfo.response.json()).reconnect_url, refresh: atRefresh.cause.reconnect_url };
}

await run({ login, pushed, dpop, device, refused, resource, reconnect });
