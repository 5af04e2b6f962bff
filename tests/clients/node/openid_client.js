// openid-client against the broker. Non-repudiation checks are on, so that ID token signatures are verified as well.
import * as client from 'openid-client';
import { errorOf, personOpens, providerEnds, run, settings, signingKey } from './script.js';

const SCOPE = 'openid profile email offline_access';

async function authentication() {
  switch (settings.auth) {
    case 'client_secret_basic':
      return client.ClientSecretBasic(settings.client_secret);
    case 'client_secret_post':
      return client.ClientSecretPost(settings.client_secret);
    case 'private_key_jwt':
      return client.PrivateKeyJwt({ key: await signingKey(settings.jwk), kid: settings.jwk.kid });
    default:
      return client.None();
  }
}

async function discovered() {
  const metadata = settings.id_token_alg ? { id_token_signed_response_alg: settings.id_token_alg } : {};
  const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks];
  const options = { execute, algorithm: settings.algorithm ?? 'oidc' };
  return client.discovery(new URL(settings.issuer), settings.client_id, metadata, await authentication(), options);
}

/** Login to the tokens. `authorizationUrl` makes the URL from the parameters. */
async function logIn(config, authorizationUrl, options) {
  const verifier = client.randomPKCECodeVerifier();
  const checks = {
    pkceCodeVerifier: verifier,
    expectedNonce: client.randomNonce(),
    expectedState: client.randomState(),
    idTokenExpected: true,
  };
  const url = await authorizationUrl(config, {
    redirect_uri: settings.redirect_uri,
    scope: SCOPE,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state: checks.expectedState,
    nonce: checks.expectedNonce,
  }, options);
  return client.authorizationCodeGrant(config, await personOpens(url), checks, undefined, options);
}

/** What follows a login: profile, refresh, profile again, revocation, and that it was one. */
async function live(config, tokens, options) {
  const { sub, nonce } = tokens.claims();
  const before = await client.fetchUserInfo(config, tokens.access_token, sub, options);
  const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token, undefined, options);
  const after = await client.fetchUserInfo(config, refreshed.access_token, sub, options);
  const introspected = settings.auth === 'none' ? null : await client.tokenIntrospection(config, refreshed.access_token);
  await client.tokenRevocation(config, refreshed.refresh_token, { token_type_hint: 'refresh_token' });
  const refused = await errorOf(client.refreshTokenGrant(config, refreshed.refresh_token, undefined, options));
  const unknown = await errorOf(client.fetchUserInfo(config, refreshed.access_token, sub, options));
  return {
    sub,
    name: before.name,
    email: after.email,
    nonce: Boolean(nonce),
    token_type: tokens.token_type,
    rotated: refreshed.refresh_token !== tokens.refresh_token,
    introspected,
    after_revocation: { refresh: refused.error, userinfo: unknown.status ?? unknown.response?.status ?? String(unknown) },
  };
}

async function login() {
  const config = await discovered();
  return live(config, await logIn(config, client.buildAuthorizationUrl));
}

async function pushed() {
  const config = await discovered();
  return live(config, await logIn(config, client.buildAuthorizationUrlWithPAR));
}

async function dpop() {
  const config = await discovered();
  const options = { DPoP: client.getDPoPHandle(config, await client.randomDPoPKeyPair()) };
  return live(config, await logIn(config, client.buildAuthorizationUrlWithPAR, options), options);
}

async function device() {
  const config = await discovered();
  const started = await client.initiateDeviceAuthorization(config, { scope: SCOPE });
  await personOpens(started.verification_uri_complete);
  return live(config, await client.pollDeviceAuthorizationGrant(config, started));
}

async function refused() {
  const config = await discovered();
  const url = client.buildAuthorizationUrl(config, { redirect_uri: settings.redirect_uri, scope: SCOPE, prompt: 'none' });
  const arrived = await personOpens(url);
  const error = await errorOf(client.authorizationCodeGrant(config, arrived, { pkceCodeVerifier: 'x'.repeat(43) }));
  return { error: error.error };
}

/** Registers itself, and then lives as any other client. */
async function registered() {
  const metadata = {
    client_name: 'A visitor',
    redirect_uris: [settings.redirect_uri],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: settings.auth,
  };
  const execute = [client.allowInsecureRequests, client.enableNonRepudiationChecks];
  const authenticated = await authentication();
  const config = await client.dynamicClientRegistration(new URL(settings.issuer), metadata, authenticated, { execute });
  return live(config, await logIn(config, client.buildAuthorizationUrl));
}

async function logout() {
  const config = await discovered();
  const tokens = await logIn(config, client.buildAuthorizationUrl);
  const url = client.buildEndSessionUrl(config, {
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: settings.post_logout_redirect_uri,
    state: 'bye',
  });
  const arrived = await personOpens(url);
  const refused = await errorOf(client.refreshTokenGrant(config, tokens.refresh_token));
  return { arrived: String(arrived), refresh: refused.error };
}

/** Where to reconnect once the provider has ended the access, as docs/links.md reads it. */
async function reconnect() {
  const config = await discovered();
  const tokens = await logIn(config, client.buildAuthorizationUrl);
  await providerEnds();
  const atUserinfo = await errorOf(client.fetchUserInfo(config, tokens.access_token, tokens.claims().sub));
  const atRefresh = await errorOf(client.refreshTokenGrant(config, tokens.refresh_token));
  return { userinfo: (await atUserinfo.response.json()).reconnect_url, refresh: atRefresh.cause.reconnect_url };
}

await run({ login, pushed, dpop, device, refused, registered, logout, reconnect });
