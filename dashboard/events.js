// What happens on the server, as it happens: `GET /v1/events`.
//
// The browser's own EventSource cannot send a token except in the address, where it would end up
// in logs, so the stream is read by fetch. A reader that comes back says what it saw last
// (`Last-Event-ID`) and misses nothing.

/**
 * @typedef {{ id: number, at: string, site: string|null, kind: string, [field: string]: any }} Event_
 */

/**
 * The server says something at least every 15 seconds, if only a comment. Longer silence means that
 * a proxy or a sleeping laptop has lost the connection without either end being told.
 */
const SILENCE = 60_000;

/**
 * Follows the events until `signal` ends it, coming back after every interruption.
 * @param {import('./api.js').Api} api
 * @param {{ site?: string|null, signal: AbortSignal, onEvent: (event: Event_) => void, onLive: (live: boolean) => void }} options
 */
export async function follow(api, { site, signal, onEvent, onLive }) {
  let last;
  let failures = 0;
  while (!signal.aborted) {
    try {
      const headers = { Accept: 'text/event-stream' };
      if (last !== undefined) headers['Last-Event-ID'] = last;
      const response = await api.send('GET', 'events', { query: { site }, headers, signal });
      onLive(true);
      failures = 0;
      for await (const message of messages(response.body)) {
        if (message.id !== undefined) last = message.id;
        if (message.data) onEvent(JSON.parse(message.data));
      }
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
      failures += 1;
    }
    if (signal.aborted) return;
    onLive(false);
    await pause(backoff(failures, Math.random()), signal);
  }
}

/**
 * How long to wait before the next try, in milliseconds: doubling from one second to thirty,
 * spread so that a hundred browsers do not all come back in the same instant.
 * @param {number} failures
 * @param {number} chance in [0, 1)
 */
export function backoff(failures, chance) {
  const longest = Math.min(30_000, 1000 * 2 ** Math.max(0, failures - 1));
  return longest * (0.5 + chance / 2);
}

/**
 * The messages of a server-sent event stream, however its bytes are cut.
 * @param {ReadableStream<Uint8Array>} body
 * @returns {AsyncGenerator<{id?: string, event?: string, data: string}>}
 */
export async function* messages(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  let fields = {};
  let watchdog;
  try {
    for (;;) {
      watchdog = setTimeout(() => reader.cancel().catch(() => {}), SILENCE);
      const { done, value } = await reader.read();
      clearTimeout(watchdog);
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      // A lone \r at the end may be half of \r\n.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === '') {
          if (fields.data !== undefined) yield fields;
          fields = {};
          continue;
        }
        const colon = line.indexOf(':');
        if (colon === 0) continue;
        const name = colon < 0 ? line : line.slice(0, colon);
        const text = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
        if (name === 'data') fields.data = fields.data === undefined ? text : `${fields.data}\n${text}`;
        else if (name === 'id' || name === 'event') fields[name] = text;
      }
    }
  } finally {
    clearTimeout(watchdog);
    reader.cancel().catch(() => {});
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
