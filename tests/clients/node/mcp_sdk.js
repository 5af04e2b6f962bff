// The MCP SDK's client with its own OAuth: discovery, registration, login with `resource`, refresh, end.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { auth, UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { errorOf, personOpens, run, settings } from './script.js';

/** What an application gives the SDK: metadata, a memory, and the browser. */
class Provider {
  asked = [];
  kept = {};

  get redirectUrl() {
    return settings.redirect_uri;
  }

  get clientMetadata() {
    return {
      client_name: 'An MCP client',
      redirect_uris: [settings.redirect_uri],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: settings.auth,
    };
  }

  clientInformation = () => this.kept.client;
  saveClientInformation = (client) => { this.kept.client = client; };
  tokens = () => this.kept.tokens;
  saveTokens = (tokens) => { this.kept.tokens = tokens; };
  codeVerifier = () => this.kept.verifier;
  saveCodeVerifier = (verifier) => { this.kept.verifier = verifier; };

  invalidateCredentials(scope) {
    if (scope === 'tokens') this.kept.tokens = undefined;
    else throw new Error(`the SDK gave up its ${scope}`);
  }

  async redirectToAuthorization(url) {
    this.asked.push(url.searchParams.getAll('resource'));
    this.arrived = await personOpens(url);
  }
}

async function ask(provider) {
  const transport = new StreamableHTTPClientTransport(new URL(settings.resource), { authProvider: provider });
  const client = new Client({ name: 'test', version: '1.0.0' });
  await client.connect(transport);
  const { content } = await client.callTool({ name: 'whoami', arguments: {} });
  await client.close();
  return content[0].text;
}

async function login() {
  const provider = new Provider();
  const unauthorized = await errorOf(ask(provider));
  if (!(unauthorized instanceof UnauthorizedError)) throw unauthorized;
  const authorizationCode = provider.arrived.searchParams.get('code');
  const redeemed = await auth(provider, { serverUrl: settings.resource, authorizationCode });
  const first = await ask(provider);
  const before = provider.kept.tokens;
  const renewed = await auth(provider, { serverUrl: settings.resource });
  const refreshed = await ask(provider);
  const rotated = before.refresh_token !== provider.kept.tokens.refresh_token;

  const { client_id, client_secret } = provider.kept.client;
  const { revocation_endpoint } = await (await fetch(`${settings.issuer}/.well-known/oauth-authorization-server`)).json();
  const basic = settings.auth === 'client_secret_basic';
  const headers = basic ? { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` } : {};
  const credentials = basic ? {} : { client_id, ...(client_secret && { client_secret }) };
  const body = new URLSearchParams({ token: provider.kept.tokens.refresh_token, ...credentials });
  const revoked = await fetch(revocation_endpoint, { method: 'POST', headers, body });
  const ended = await errorOf(ask(provider));
  return {
    results: [redeemed, renewed],
    first,
    refreshed,
    rotated,
    resources: provider.asked,
    revoked: revoked.status,
    ended: ended instanceof UnauthorizedError,
  };
}

await run({ login });
