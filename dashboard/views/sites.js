// All sites: what each of them has, does and runs.

import { h } from '../dom.js';
import { count, counted } from '../format.js';
import { badge, emptyNotice, maskLink, table } from '../parts.js';
import { link } from '../router.js';

/** @param {import('../main.js').Context} context */
export function sitesPage({ api }) {
  let sites = [];
  let base = null;
  return {
    title: 'Sites',
    async load() {
      [sites, base] = await Promise.all([api.all('sites'), api.find('base')]);
    },
    on: (event) => event.kind !== 'job-changed' || event.state !== 'running' || !sites.find((site) => site.name === event.site)?.open_jobs,
    render: () => [
      h('h1', null, 'Sites'),
      base === null && h('div', { class: 'notice is-warn' }, 'This server has no base yet, so nothing can be trained. Import one: ',
        h('code', null, 'katagami base import --arch efficientnet_lite0 --weights FILE')),
      sites.length ? [summary(sites, base), list(sites)] : emptyNotice('No site yet', 'A site is a factory: make one, then send it images.', 'katagami site create osaka-2'),
    ],
  };
}

function summary(sites, base) {
  const sum = (name) => sites.reduce((total, site) => total + site[name], 0);
  return h('p', { class: 'lead' }, [
    counted(sites.length, 'site'), counted(sum('images'), 'image'), counted(sum('open_jobs'), 'open job'), counted(sum('devices'), 'device'),
  ].join(' · '), base && h('span', { class: 'muted' }, ` · base ${base.manifest.architecture ?? ''}`));
}

function list(sites) {
  return table('Sites', ['Site', 'Training', '#Images', '#Masks', 'Stable runs', '#Devices'], sites.map((site) => h('tr', { key: site.name },
    h('th', { scope: 'row' }, h('a', { href: link('sites', site.name) }, site.title), site.title !== site.name && h('span', { class: 'muted small block' }, site.name)),
    h('td', null, site.open_jobs
      ? h('a', { href: link('sites', site.name, 'jobs') }, badge('running', counted(site.open_jobs, 'open job')))
      : badge('idle', 'idle')),
    h('td', { class: 'number' }, count(site.images)),
    h('td', { class: 'number' }, count(site.masks)),
    h('td', null, maskLink(site.name, site.stable)),
    h('td', { class: 'number' }, count(site.devices)))));
}
