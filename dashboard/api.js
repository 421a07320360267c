// The public REST API, and nothing but it. The JSON is that of `src/wire/v1` in the server.

/** A refused request: the server's problem document (RFC 9457). */
export class Problem extends Error {
  /** @param {{status: number, code: string, detail: string, request?: string}} document */
  constructor(document) {
    super(document.detail);
    this.status = document.status;
    this.code = document.code;
    this.request = document.request;
  }
}

/** Calls the API with one token. */
export class Api {
  /**
   * @param {string} token
   * @param {() => void} [onRefusedToken] called when the server no longer takes the token
   */
  constructor(token, onRefusedToken = () => {}) {
    this.token = token;
    this.onRefusedToken = onRefusedToken;
  }

  /**
   * Sends a request; an answer that is no success becomes a {@link Problem}. The token travels
   * in the header only, never in an address.
   * @param {string} method
   * @param {string} path below `/v1/`, already encoded (see {@link path})
   * @param {{query?: Record<string, any>, body?: any, headers?: Record<string, string>, signal?: AbortSignal}} [options]
   * @returns {Promise<Response>}
   */
  async send(method, path, { query = {}, body, headers = {}, signal } = {}) {
    const url = new URL(`v1/${path}`, document.baseURI);
    for (const [name, value] of Object.entries(query)) {
      if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
    }
    const init = { method, signal, cache: 'no-store', headers: { Authorization: `Bearer ${this.token}`, ...headers } };
    if (body !== undefined) {
      init.headers['Content-Type'] = 'application/json';
      init.body = JSON.stringify(body);
    }
    let response;
    try {
      response = await fetch(url, init);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Problem({ status: 0, code: 'unreachable', detail: 'The server cannot be reached. Check the network; the page tries again by itself.' });
    }
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.status === 401) this.onRefusedToken();
    throw problem;
  }

  /** @returns {Promise<any>} the JSON at `path` */
  async get(path, query, signal) {
    return (await this.send('GET', path, { query, signal })).json();
  }

  /** Posts once, however often the browser sends it: every call has its own Idempotency-Key. */
  async post(path, body = {}) {
    return (await this.send('POST', path, { body, headers: { 'Idempotency-Key': nonce() } })).json();
  }

  /** Puts, provided that the thing still has `revision`. */
  async put(path, body, revision) {
    return (await this.send('PUT', path, { body, headers: { 'If-Match': `"${revision}"` } })).json();
  }

  /** All entries of a list that is known to be short; at most `most` of them. */
  async all(path, query = {}, most = 1000) {
    const items = [];
    let cursor;
    do {
      const page = await this.get(path, { ...query, limit: 200, cursor });
      items.push(...page.items);
      cursor = page.next;
    } while (cursor && items.length < most);
    return items;
  }

  /** Like `get`, but `null` where there is no such thing. */
  async find(path) {
    try {
      return await this.get(path);
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return null;
      throw error;
    }
  }
}

/**
 * An encoded path: path`sites/${name}/jobs`.
 * @param {TemplateStringsArray} strings
 * @param {...(string|number)} values
 */
export function path(strings, ...values) {
  return String.raw({ raw: strings }, ...values.map((value) => encodeURIComponent(String(value))));
}

async function problemOf(response) {
  const text = await response.text();
  try {
    const document = JSON.parse(text);
    if (typeof document.detail === 'string') return new Problem({ ...document, status: response.status });
  } catch {
    // A proxy's own page, not the server's answer.
  }
  return new Problem({ status: response.status, code: 'no_problem_document', detail: `The server answered ${response.status} without saying why.` });
}

// Not crypto.randomUUID, which exists only on HTTPS and on localhost.
function nonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
