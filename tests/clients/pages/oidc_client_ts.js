// A page of an application that uses oidc-client-ts as its documentation says; the test works it through `app`.
import { IndexedDbDPoPStore, UserManager, WebStorageStateStore } from 'oidc-client-ts';

const settings = await (await fetch('/settings.json')).json();
const manager = new UserManager({
  authority: settings.issuer,
  client_id: settings.client_id,
  redirect_uri: `${location.origin}/callback`,
  post_logout_redirect_uri: `${location.origin}/`,
  scope: 'openid profile email offline_access',
  loadUserInfo: !settings.dpop, // the library sends no proof with it
  dpop: settings.dpop ? { bind_authorization_code: true, store: new IndexedDbDPoPStore() } : undefined,
  userStore: new WebStorageStateStore({ store: localStorage }),
  automaticSilentRenew: settings.renew_before > 0,
  accessTokenExpiringNotificationTimeInSeconds: settings.renew_before || 60,
  revokeTokensOnSignout: true,
  fetchRequestCredentials: settings.refresh_cookie ? 'include' : undefined,
  // what may be read by everybody may not be asked for with cookies
  metadata: settings.refresh_cookie
    ? await (await fetch(`${settings.issuer}/.well-known/openid-configuration`)).json()
    : undefined,
});

const events = [];
manager.events.addUserLoaded(() => events.push('renewed'));
manager.events.addSilentRenewError((error) => events.push(`failed: ${error.message}`));
if (location.pathname === '/callback') {
  await manager.signinCallback();
  history.replaceState(null, '', '/');
} else if (location.search.includes('state=')) {
  events.push(`signed out: ${(await manager.signoutCallback()).userState}`);
}

/** Asks for the profile; once more when the server wants its own nonce in the proof (RFC 9449 section 9). */
async function userinfo(token, nonce) {
  const { userinfo_endpoint: url } = await manager.metadataService.getMetadata();
  const headers = { authorization: `${settings.dpop ? 'DPoP' : 'Bearer'} ${token}` };
  if (settings.dpop) headers.dpop = await manager.dpopProof(url, await manager.getUser(), 'GET', nonce);
  const response = await fetch(url, { headers });
  const wanted = response.headers.get('dpop-nonce');
  return response.status === 401 && settings.dpop && wanted && !nonce ? userinfo(token, wanted) : response.status;
}

const shown = (user) => user && {
  sub: user.profile.sub,
  name: user.profile.name,
  email: user.profile.email,
  access_token: user.access_token,
  refresh_token: user.refresh_token,
  id_token: user.id_token,
  token_type: user.token_type,
};

/** Renews with the refresh cookie, which only the broker sees. */
async function renewByCookie() {
  const answer = await fetch(`${settings.issuer}/refresh`, {
    method: 'POST',
    credentials: 'include',
    headers: { 'X-Requested-With': 'fetch' },
    body: new URLSearchParams({ client_id: settings.client_id }),
  });
  const tokens = await answer.json();
  if (!answer.ok) throw new Error(tokens.error);
  const user = await manager.getUser();
  Object.assign(user, { access_token: tokens.access_token, expires_in: tokens.expires_in });
  await manager.storeUser(user);
  await manager.events.load(user);
}

/** Where to reconnect: the library keeps the request that was refused, and its repetition has the same answer. */
async function reconnectUrl() {
  try {
    await manager.signinSilent();
  } catch (error) {
    const url = await manager.metadataService.getTokenEndpoint();
    const answer = await fetch(url, { method: 'POST', body: error.form });
    return (await answer.json()).reconnect_url;
  }
  throw new Error('this should have been refused');
}

window.app = {
  events,
  signIn: () => manager.signinRedirect(),
  user: async () => shown(await manager.getUser()),
  renew: async () => shown(await manager.signinSilent()),
  renewByCookie: async () => renewByCookie().then(window.app.user),
  reconnectUrl,
  /** Renews at a moment that two tabs agreed on. */
  renewAt: (moment) => {
    window.renewal = new Promise((done) => setTimeout(done, moment - Date.now())).then(window.app.renew);
  },
  /** Ends the login as another device of the person's would: the library does not know. */
  endUnseen: async () => {
    const { revocation_endpoint: url } = await manager.metadataService.getMetadata();
    const { refresh_token: token } = await manager.getUser();
    await fetch(url, { method: 'POST', body: new URLSearchParams({ client_id: settings.client_id, token }) });
  },
  /** What an application is told when its renewal fails: the kind of error, what OAuth calls it, and how many calls it took. */
  renewalError: async () => {
    const { token_endpoint: url } = await manager.metadataService.getMetadata();
    performance.clearResourceTimings();
    const failure = await manager.signinSilent().then(() => null, (error) => error);
    const calls = performance.getEntriesByType('resource').filter((call) => call.name === url);
    return { name: failure?.name, error: failure?.error, calls: calls.length };
  },
  signOutHere: () => manager.removeUser(),
  revoke: () => manager.revokeTokens(['access_token', 'refresh_token']),
  signOut: () => manager.signoutRedirect({ state: 'bye' }),
  userinfo: (token) => userinfo(token),
};
document.title = 'ready';
