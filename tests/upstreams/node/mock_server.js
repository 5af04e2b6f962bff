// oauth2-mock-server, which takes anything and answers what a test orders: any status and body by its own hooks, and what its hooks
// cannot say (no JSON, half an answer, a late one, none) by a listener between it and the wire.
import { calls, listening, onOrder, ready, settings } from './control.js';
import { createServer } from 'node:http';
import { OAuth2Server } from 'oauth2-mock-server';

await settings();
const { issuer, service } = new OAuth2Server();
await issuer.keys.generate('RS256');

/** Orders not yet met, by endpoint. For the hooks {status, body}, or {set}: members over those of the answer. For the wire
 * {raw, status, headers}, {cut} in half, {late} by seconds, or {close} without an answer. */
const orders = { token: [], userinfo: [], revoke: [] };
onOrder('POST /faults', ({ endpoint, fault, times }) => { orders[endpoint].push(...Array(times).fill(fault)); });
onOrder('DELETE /faults', () => { Object.values(orders).forEach((waiting) => { waiting.length = 0; }); });

/** The order that this request meets; all hooks of one request meet the same. */
const met = new WeakMap();

function change(what, answer, request) {
  const fault = met.get(request);
  if (fault?.body !== undefined) {
    Object.assign(answer, { statusCode: fault.status, body: fault.body });
  } else if (fault?.set !== undefined) {
    Object.assign(answer.body, fault.set);
  }
  calls.push({ what, error: fault === undefined || fault.set ? '' : 'ordered' });
}

service.on('beforeResponse', (answer, request) => change(request.body.grant_type, answer, request));
service.on('beforeUserinfo', (answer, request) => change('userinfo', answer, request));
service.on('beforeRevoke', (answer, request) => change('revoke', answer, request));

function spoil(response, fault) {
  const end = response.end.bind(response);
  response.end = (content) => {
    if (fault.raw !== undefined) {
      response.removeHeader('content-length');
      response.writeHead(fault.status ?? 200, { 'content-type': 'text/html', ...fault.headers });
      end(fault.raw);
    } else if (fault.cut) {
      response.write(content.slice(0, content.length / 2), () => response.destroy());
    } else if (fault.late) {
      setTimeout(() => end(content), fault.late * 1000);
    } else if (fault.close) {
      response.destroy();
    } else {
      end(content);
    }
  };
}

issuer.url = await listening(createServer((request, response) => {
  const fault = orders[new URL(request.url, 'http://any').pathname.slice(1)]?.shift();
  if (fault !== undefined) {
    met.set(request, fault);
    spoil(response, fault);
  }
  service.requestHandler(request, response);
}));
await ready(issuer.url);
