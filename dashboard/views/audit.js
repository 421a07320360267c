// The audit trail: who changed what, when. Nothing here is ever changed or deleted.

import { h } from '../dom.js';
import { emptyNotice, field, table, time } from '../parts.js';
import { link } from '../router.js';

/** Entries of a page. */
const SIZE = 50;

/**
 * @param {import('../main.js').Context} context
 * @param {Record<string, string>} _params
 * @param {URLSearchParams} query `site`, `cursor`
 */
export function auditPage({ api }, _params, query) {
  const site = query.get('site') ?? '';
  const cursor = query.get('cursor') ?? '';
  let page, sites;
  const address = (changes) => {
    const kept = Object.entries({ site, ...changes }).filter(([, value]) => value);
    return `${link('audit')}${kept.length ? `?${new URLSearchParams(kept)}` : ''}`;
  };
  return {
    title: 'Audit',
    async load() {
      [page, sites] = await Promise.all([api.get('audit', { site, cursor, limit: SIZE }), api.all('sites')]);
    },
    // What happens now is on the first page.
    on: (event) => !cursor && (!site || event.site === site),
    render: () => [
      h('h1', null, 'Audit'),
      h('p', { class: 'lead' }, 'Who changed what, when; the newest first. Nothing here is ever changed or deleted.'),
      h('div', { class: 'filters' },
        field('Site', h('select', { value: site, onchange: (event) => { location.hash = address({ site: event.target.value }); } },
          h('option', { value: '' }, 'all'), sites.map(({ name }) => h('option', { key: name, value: name }, name))))),
      page.items.length
        ? table('Audit trail', ['When', 'Who', 'What', 'Where', 'Exactly'], page.items.map(row))
        : emptyNotice('Nothing has happened here'),
      h('p', { class: 'pager' },
        cursor && h('a', { class: 'button', href: address({}) }, 'The newest'),
        page.next && h('a', { class: 'button', href: address({ cursor: page.next }) }, 'Older')),
    ],
  };
}

function row({ id, at, actor, event, site, details }) {
  return h('tr', { key: id },
    h('td', null, time(at)),
    h('td', null, actor),
    h('th', { scope: 'row' }, event.replaceAll('_', ' ')),
    h('td', null, site ? h('a', { href: link('sites', site) }, site) : '–'),
    h('td', null, h('details', null, h('summary', null, 'Details'), h('pre', null, h('code', null, JSON.stringify(details, null, 1))))));
}
