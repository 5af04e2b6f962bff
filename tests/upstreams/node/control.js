// What the servers here have beside what they serve: a start that the tests can wait for, a clock that can be moved, and a
// record of the token calls. Must be imported first: libraries that write to the console would spoil the one line of output.
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';

console.log = console.info = console.warn = console.error;

let moved = 0;
const machineNow = Date.now;
Date.now = () => machineNow() + moved;

/** Every token call and its outcome, and every grant that was ended, in order. */
export const calls = [];

const answers = {
  'POST /clock': (seconds) => { moved = seconds * 1000; },
  'GET /calls': () => calls,
  'DELETE /calls': () => { calls.length = 0; },
};

/** Adds to what the tests may order; `answer` gets the JSON that was sent. */
export function onOrder(methodAndPath, answer) {
  answers[methodAndPath] = answer;
}

/** The settings, which are the first line of standard input. The process ends with its parent, when the input does. */
export function settings() {
  const lines = createInterface({ input: process.stdin });
  lines.on('close', () => process.exit());
  return new Promise((resolve) => { lines.once('line', (line) => resolve(JSON.parse(line))); });
}

/** Listens on a free port of the loopback interface; its base URL. */
export function listening(server) {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`));
  });
}

/** Tells the tests where the server is, and takes their orders. */
export async function ready(url) {
  const control = await listening(createServer(async (request, response) => {
    const body = await text(request);
    const answer = answers[`${request.method} ${request.url}`](body ? JSON.parse(body) : undefined);
    response.end(JSON.stringify(answer ?? null));
  }));
  process.stdout.write(`${JSON.stringify({ url, control })}\n`);
}
