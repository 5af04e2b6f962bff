// A page of an application that uses AppAuth-JS; the test works it through `app`.
import {
  AuthorizationNotifier, AuthorizationRequest, AuthorizationServiceConfiguration, BaseTokenRequestHandler,
  BasicQueryStringUtils, FetchRequestor, GRANT_TYPE_AUTHORIZATION_CODE, GRANT_TYPE_REFRESH_TOKEN, LocalStorageBackend,
  RedirectRequestHandler, RevokeTokenRequest, TokenRequest,
} from '@openid/appauth';

const settings = await (await fetch('/settings.json')).json();
const redirectUri = `${location.origin}/callback`;
const requestor = new FetchRequestor();

// AppAuth reads a redirect's fragment unless told otherwise, which its documentation shows like this.
class QueryOnly extends BasicQueryStringUtils {
  parse(input) {
    return super.parse(input, false);
  }
}

const configuration = await AuthorizationServiceConfiguration.fetchFromIssuer(settings.issuer, requestor);
const redirects = new RedirectRequestHandler(new LocalStorageBackend(), new QueryOnly());
const tokens = new BaseTokenRequestHandler(requestor);
const notifier = new AuthorizationNotifier();
let answer;
redirects.setAuthorizationNotifier(notifier);
notifier.setAuthorizationListener((request, response, error) => {
  answer = { request, response, error };
});
await redirects.completeAuthorizationRequestIfPossible();

const tokenRequest = (parameters) => tokens.performTokenRequest(configuration, new TokenRequest({
  client_id: settings.client_id, redirect_uri: redirectUri, ...parameters,
}));

window.app = {
  events: [],
  signIn: () => redirects.performAuthorizationRequest(configuration, new AuthorizationRequest({
    client_id: settings.client_id,
    redirect_uri: redirectUri,
    scope: 'openid profile email offline_access',
    response_type: AuthorizationRequest.RESPONSE_TYPE_CODE,
  })),
  redeem: () => tokenRequest({
    grant_type: GRANT_TYPE_AUTHORIZATION_CODE,
    code: answer.response.code,
    extras: { code_verifier: answer.request.internal.code_verifier },
  }),
  refresh: (refreshToken) => tokenRequest({ grant_type: GRANT_TYPE_REFRESH_TOKEN, refresh_token: refreshToken }),
  revoke: (token) => tokens.performRevokeTokenRequest(
    configuration, new RevokeTokenRequest({ token, client_id: settings.client_id }),
  ),
  profile: async (token) => {
    const headers = { authorization: `Bearer ${token}` };
    return requestor.xhr({ url: configuration.userInfoEndpoint, method: 'GET', dataType: 'json', headers });
  },
  /** The status that the library rejects with, or undefined. */
  failure: (promise) => promise.then(() => undefined, (error) => error.message),
};
document.title = 'ready';
