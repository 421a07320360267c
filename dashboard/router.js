// Addresses of pages: `#/sites/osaka/jobs?state=running`.
//
// They live behind the hash, so the server needs one page, and no address of the dashboard can
// be mistaken for one of the API.

/**
 * @typedef {{ pattern: string[], open: (params: Record<string, string>, query: URLSearchParams) => any }} Route
 */

/**
 * A route: `route('sites/:site/jobs', open)`.
 * @returns {Route}
 */
export function route(pattern, open) {
  return { pattern: pattern.split('/').filter(Boolean), open };
}

/**
 * The page at `hash`, or null.
 * @param {Route[]} routes
 * @param {string} hash
 */
export function match(routes, hash) {
  const [where, query = ''] = hash.replace(/^#/, '').split('?', 2);
  const parts = where.split('/').filter(Boolean).map(decode);
  for (const { pattern, open } of routes) {
    if (pattern.length !== parts.length) continue;
    const params = {};
    const fits = pattern.every((part, index) => {
      if (!part.startsWith(':')) return part === parts[index];
      params[part.slice(1)] = parts[index];
      return true;
    });
    if (fits) return open(params, new URLSearchParams(query));
  }
  return null;
}

/**
 * An address: link('sites', name, 'jobs').
 * @param {...(string|number)} parts
 */
export function link(...parts) {
  return `#/${parts.map((part) => encodeURIComponent(String(part))).join('/')}`;
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
