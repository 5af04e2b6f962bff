// panva's oidc-provider as strict as it gets: PKCE, refresh tokens that are replaced at every use, and a grant that is dead with
// everything in it once one of them comes twice.
import { calls, listening, ready, settings } from './control.js';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const { client_id, client_secret, redirect_uris, access_lifetime } = await settings();
const server = createServer();
const issuer = await listening(server);

const DAY = 86400;
const provider = new Provider(issuer, {
  clients: [{ client_id, client_secret, redirect_uris, grant_types: ['authorization_code', 'refresh_token'] }],
  scopes: ['openid', 'offline_access', 'profile', 'email'],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'] },
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `${id} at home`, preferred_username: id, email: `${id}@example.com`, email_verified: true }),
  }),
  pkce: { required: () => true },
  rotateRefreshToken: true,
  features: { revocation: { enabled: true }, introspection: { enabled: true } },
  ttl: {
    AccessToken: access_lifetime, AuthorizationCode: 60, IdToken: 600, Interaction: 600, RefreshToken: 14 * DAY, Grant: 90 * DAY,
    Session: DAY,
  },
});

const granted = (ctx) => ctx.oidc.params.grant_type;
provider.on('grant.success', (ctx) => calls.push({ what: granted(ctx), error: '' }));
provider.on('grant.error', (ctx, error) => calls.push({ what: granted(ctx), error: error.error }));
provider.on('grant.revoked', () => calls.push({ what: 'revoked', error: '' }));
provider.on('server_error', (_ctx, error) => calls.push({ what: 'crashed', error: String(error) }));
server.on('request', provider.callback());

await ready(issuer);
