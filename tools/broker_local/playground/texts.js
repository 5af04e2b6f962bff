// What the page says: the providers, the steps of the journey, and explanations of claims and errors.

/** The sandbox's providers, in the order they are offered. `remark` says what is particular about each. */
export const PROVIDERS = [
  { name: "infolobby", title: "InfoLobby", remark: "Secret in the form body, and a profile under names of its own." },
  { name: "lockitnetwork", title: "LockitNetwork", remark: "Secret in a Basic header only. It has no profile, so the subject is good for one login." },
  { name: "phpapi", title: "PHP style", remark: "No state, no grant_type and no refresh tokens. The login lasts an hour." },
  { name: "redbooth", title: "Redbooth", remark: "State hidden in the redirect address, refresh tokens that change at every use." },
  { name: "iternio", title: "Iternio", remark: "As its guide says: auth_code and user_token in place of code and access_token." },
  { name: "iternio-live", title: "Iternio, live", remark: "As its real clients meet it: code and access_token after all." },
  { name: "openid", title: "OpenID-like", remark: "The standard’s own names, PKCE required, and a revocation endpoint." },
  { name: "oidc", title: "OpenID Connect", remark: "Addresses and keys by discovery, a signed ID token, and iss in the redirect." },
];

/** The stations of a login. `lane`: where it happens. */
export const STEPS = [
  { name: "prepare", lane: "page", title: "Get ready", text: "Make state, nonce and a PKCE secret" },
  { name: "authorize", lane: "broker", title: "/authorize", text: "Check the request, pass it on" },
  { name: "provider", lane: "provider", title: "Sign in", text: "Allow or deny, at the provider" },
  { name: "callback", lane: "broker", title: "/callback", text: "Redeem the provider’s code with the secret" },
  { name: "return", lane: "page", title: "Come back", text: "Check state and iss" },
  { name: "token", lane: "broker", title: "/token", text: "Code and PKCE secret become tokens" },
  { name: "session", lane: "page", title: "Signed in", text: "Profile, refresh, sign out" },
];

/** What the claims and header fields of our tokens mean. */
export const CLAIMS = {
  alg: "Signature algorithm",
  typ: "Kind of token; at+jwt is an access token (RFC 9068)",
  kid: "Which of the broker’s keys signed it",
  iss: "Who issued it: the broker",
  sub: "Who it is about, the same for every app at this broker",
  aud: "Whom it is meant for",
  exp: "Good until",
  iat: "Issued",
  auth_time: "When the person signed in",
  nonce: "Made by this page, ties the token to this sign-in",
  at_hash: "Ties the ID token to its access token",
  sid: "The login, the same in all its tokens",
  jti: "The token’s own id",
  client_id: "The app it was issued to",
  scope: "What it allows",
  tbg: "Sealed for the broker alone; nobody else can open it",
};
export const TIMES = new Set(["exp", "iat", "auth_time"]);

/** What an error means for the person in front of the page: [heading, explanation]. */
export const ERRORS = {
  access_denied: ["You chose Deny", "The provider told the broker, the broker told this page, and nobody holds a token. An app would now offer to try again, or go on without."],
  "state mismatch": ["This page refused the answer", "Its state is not one that this tab made. Somebody may have sent you a link to log you in as himself (login CSRF), so the code was not used."],
  "issuer mismatch": ["This page refused the answer", "Its iss is not the broker this page asked. That is how a mix-up of two servers shows (RFC 9207)."],
  "ID token refused": ["This page refused the ID token", "One check failed, so none of the tokens is used."],
  invalid_request: ["The broker refused the request", "Something is missing in it, or wrong. The description says what; it is written for the developer."],
  invalid_grant: ["The broker refused the grant", "The code or refresh token is used up, expired, or came with a wrong verifier."],
  temporarily_unavailable: ["Not right now", "The provider or the broker cannot answer at the moment. Nothing is lost: try again."],
  server_error: ["The provider answered nonsense", "The broker could not make sense of the provider’s answer. Its log says more."],
  "no answer": ["The broker does not answer", "Is make run still running? Reload this page when it is."],
  "wrong issuer": ["Open the playground at the broker’s own address", "A client belongs to one issuer and one redirect address, letter by letter: localhost and 127.0.0.1 are two."],
};
/** Where on the way an error that came by redirect arose; all others at the broker's callback. */
export const STOPS = {
  access_denied: "provider",
  invalid_request: "authorize",
  invalid_scope: "authorize",
  unauthorized_client: "authorize",
  unsupported_response_type: "authorize",
};
export const OTHER_ERROR = ["It did not work", "The broker answered with an error that this page has no words for."];

export const ENDED = {
  reuse: ["This login has ended for everybody", "A refresh token was used that had been replaced before. Its rightful owner would not do that, so there may be a thief with a copy. The broker cannot tell which of the two is asking and ends the whole family: every refresh token, and the access tokens at the broker. Both have to sign in again, and only the owner can."],
  signedOut: ["You are signed out", "The broker ended the login: its refresh tokens are dead and /userinfo refuses the access token, though its time is not up. Where the provider can revoke, its own token is gone too."],
  expired: ["This login is over", "The broker does not refresh it any more. An app would now send you to sign in again."],
};
