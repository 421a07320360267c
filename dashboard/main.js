// The dashboard's start: who is logged in, which page is open, what the server tells meanwhile.
//
// A page is `{ key?, title, load(), render(), on?(event), leave?() }`: `load` fetches what it
// shows, `render` says how that looks, `on` takes an event and answers whether the page has to be
// loaded again. README.md tells how to add one.

import { Api, path } from './api.js';
import { h, render } from './dom.js';
import { follow } from './events.js';
import { link, match, route } from './router.js';
import { problemNotice, loadingNotice } from './parts.js';
import { showPicturesWith } from './picture.js';
import { isForPeople, may } from './permission.js';
import { loginPage } from './views/login.js';
import { sitesPage } from './views/sites.js';
import { overviewPage } from './views/site.js';
import { imagesPage } from './views/images.js';
import { jobsPage, jobPage } from './views/job.js';
import { masksPage, maskPage } from './views/mask.js';
import { channelsPage } from './views/channels.js';
import { devicesPage } from './views/devices.js';
import { settingsPage } from './views/settings.js';
import { workersPage } from './views/workers.js';
import { tokensPage } from './views/tokens.js';
import { auditPage } from './views/audit.js';

const TOKEN = 'katagami-token';
/** Events come by the dozen while jobs run; a page is loaded again at most this often. */
const LEAST_BETWEEN_LOADS = 1000;

const top = document.getElementById('top');
const main = document.getElementById('main');
const announcer = document.getElementById('announcer');

/** @type {{ api: Api, me: any, live: boolean, leave: AbortController }|null} */
let session = null;
/** @type {any} */
let page = null;
let opened = 0;

// ----- session -----

async function logIn(token) {
  const api = new Api(token, () => logOut('The server does not take this token any more. Log in again.'));
  const me = await api.get('whoami');
  if (!isForPeople(me.role)) {
    throw new Error(`This is the token of a ${me.role}. The dashboard needs one of a person: role admin, operator, auditor or site.`);
  }
  // The session's storage ends with the tab; the token is in no address, cookie or file.
  sessionStorage.setItem(TOKEN, token);
  session = { api, me, live: false, leave: new AbortController() };
  showPicturesWith(api);
  follow(api, { site: me.site, signal: session.leave.signal, onEvent: takeEvent, onLive: takeLive });
}

function logOut(why) {
  if (!session) return;
  session.leave.abort();
  session = null;
  sessionStorage.removeItem(TOKEN);
  open(loginPage({ logIn, entered: openAddress, update: draw, why }));
}

function takeLive(live) {
  // What happened before the stream began, or while it was broken, is only in the lists.
  if (live) reload();
  session.live = live;
  drawTop();
}

function takeEvent(event) {
  if (page?.on?.(event)) reload();
  const said = spoken(event);
  if (said) announcer.textContent = said;
}

/** Events that are worth an announcement to who cannot see the page change. */
function spoken(event) {
  if (event.kind === 'job-changed' && !['queued', 'running'].includes(event.state)) return `A job of ${event.site} is ${event.state}.`;
  if (event.kind === 'mask-published') return `Mask ${event.version} of ${event.site} was published: ${event.verdict}.`;
  if (event.kind === 'channel-moved') return `Channel ${event.channel} of ${event.site} points at ${event.mask === null ? 'no mask' : `mask ${event.mask}`}.`;
  return null;
}

// ----- pages -----

const routes = [
  route('', () => (session.me.site ? overviewPage(context(), { site: session.me.site }) : sitesPage(context()))),
  route('sites/:site', (params) => overviewPage(context(), params)),
  route('sites/:site/images', (params, query) => imagesPage(context(), params, query)),
  route('sites/:site/jobs', (params, query) => jobsPage(context(), params, query)),
  route('sites/:site/masks', (params) => masksPage(context(), params)),
  route('sites/:site/masks/:version', (params) => maskPage(context(), params)),
  route('sites/:site/channels', (params, query) => channelsPage(context(), params, query)),
  route('sites/:site/devices', (params) => devicesPage(context(), params)),
  route('sites/:site/settings', (params) => settingsPage(context(), params)),
  route('workers', () => workersPage(context())),
  route('tokens', () => tokensPage(context())),
  route('audit', (params, query) => auditPage(context(), params, query)),
  route('jobs/:id', (params) => jobPage(context(), params)),
];

/** Pages of the whole platform: [action, address, title]. */
const PLATFORM = [['operate', 'workers', 'Workers'], ['tokens', 'tokens', 'Tokens'], ['audit', 'audit', 'Audit']];

/**
 * What a page gets.
 * @typedef {{ api: Api, me: {name: string, role: string, site: string|null}, path: typeof path,
 *   update: () => void, reload: () => void, announce: (text: string) => void }} Context
 */
function context() {
  return { api: session.api, me: session.me, path, update: draw, reload, announce: (text) => { announcer.textContent = text; } };
}

function openAddress() {
  if (!session) return;
  open(match(routes, location.hash) ?? {
    title: 'Not found',
    load: async () => {},
    render: () => [h('h1', null, 'There is no such page'), h('p', null, h('a', { href: link() }, 'To the sites'))],
  });
}

async function open(next) {
  page?.leave?.();
  page = next;
  opened += 1;
  page.state = 'loading';
  document.title = `${page.title} · Katagami`;
  draw();
  await load();
  if (page !== next) return;
  // Only now: who reads the page aloud shall not hear "Loading". A form that took the focus keeps it.
  if (!main.contains(document.activeElement)) main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
}

let loading = false;
let again = null;

async function load() {
  const asked = page;
  loading = true;
  try {
    await asked.load();
    if (asked === page) page.state = 'ready';
  } catch (error) {
    if (asked !== page) return;
    // What was there stays readable; a message says that it may be old.
    page.problem = error;
    if (page.state === 'loading') page.state = 'failed';
    draw();
    return;
  } finally {
    loading = false;
  }
  if (asked !== page) return;
  page.problem = null;
  draw();
}

/** Loads the open page again soon: at once if nothing was loaded lately, else a little later. */
function reload() {
  if (again || !page || !session) return;
  again = setTimeout(async () => {
    again = null;
    if (loading) reload();
    else await load();
  }, loading || Date.now() - lastLoad < LEAST_BETWEEN_LOADS ? LEAST_BETWEEN_LOADS : 0);
  lastLoad = Date.now();
}
let lastLoad = 0;

function draw() {
  drawTop();
  const content = page.state === 'loading' ? loadingNotice() : page.state === 'failed' ? failedNotice() : page.render();
  // A key for each opened page: no input and no scroll position leaks from one into the next.
  render(main, h('div', { key: `page ${opened}`, class: 'page', 'data-state': page.state },
    page.problem && problemNotice(page.problem, () => load()), content));
}

function failedNotice() {
  return [h('h1', null, page.title), h('p', null, h('a', { href: link() }, 'To the sites'))];
}

function platformLinks(me) {
  const links = PLATFORM.filter(([action]) => may(me, action));
  return links.length > 0 && h('nav', { class: 'platform', 'aria-label': 'The whole platform' }, links.map(([, where, title]) =>
    h('a', { href: link(where), 'aria-current': location.hash.split('?')[0] === link(where) ? 'page' : null }, title)));
}

function drawTop() {
  if (!session) {
    render(top, h('span', { class: 'brand' }, 'Katagami'));
    return;
  }
  const { me, live } = session;
  render(top, [
    h('a', { class: 'brand', href: link() }, 'Katagami'),
    h('span', { class: live ? 'live is-live' : 'live', title: live ? 'This page follows what happens on the server' : 'The connection is interrupted; the page comes back by itself' }, live ? 'Live' : 'Reconnecting …'),
    platformLinks(me),
    h('span', { class: 'me' }, h('span', { class: 'me-name' }, me.name), h('span', { class: 'tag' }, me.site ? `${me.role} · ${me.site}` : me.role)),
    h('button', { type: 'button', class: 'quiet', onclick: () => logOut() }, 'Log out'),
  ]);
}

window.addEventListener('hashchange', () => {
  // The skip link is an address behind the hash, too.
  if (location.hash === '#main') history.replaceState(null, '', link());
  else openAddress();
});
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});
// `3 minutes ago` grows old by itself.
setInterval(() => { if (session && page?.state === 'ready') draw(); }, 30_000);

const kept = sessionStorage.getItem(TOKEN);
if (kept) {
  logIn(kept).then(openAddress, (error) => open(loginPage({ logIn, entered: openAddress, update: draw, why: error.message })));
} else {
  open(loginPage({ logIn, entered: openAddress, update: draw }));
}
