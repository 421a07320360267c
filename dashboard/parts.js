// Pieces that several pages show: states, times, notices, a site's head with its tabs.

import { h } from './dom.js';
import { ago, count, maskName, moment } from './format.js';
import { link } from './router.js';

/** A word about a state; the colour only repeats it. */
const TONES = {
  queued: 'waiting', running: 'active', done: 'good', failed: 'bad', cancelled: 'idle',
  passed: 'good', held: 'warn', refused: 'bad', override: 'warn',
};
export const badge = (word, text = word) => h('span', { class: `badge is-${TONES[word] ?? 'idle'}` }, text);

/** A point in time as people say it, exactly on hover. */
export const time = (at) => (at ? h('time', { datetime: at, title: moment(at) }, ago(at)) : '–');

export const loadingNotice = () => h('p', { class: 'muted', role: 'status' }, 'Loading …');

/** Why something did not work: the problem document's sentence. */
export function problemNotice(error, retry) {
  return h('div', { key: 'problem', class: 'notice is-bad', role: 'alert' },
    h('p', null, h('strong', null, 'That did not work. '), error.message),
    error.request && h('p', { class: 'muted small' }, 'Request ', h('code', null, error.request)),
    retry && h('button', { type: 'button', onclick: retry }, 'Try again'));
}

/** What to do where nothing is yet. */
export function emptyNotice(title, hint, command) {
  return h('div', { class: 'empty' }, h('h3', null, title), hint && h('p', null, hint), command && h('pre', null, h('code', null, command)));
}

/** A table that scrolls on its own on a narrow screen. `rows` are arrays of cells, or `h('tr', …)`. */
export function table(caption, head, rows) {
  return h('div', { class: 'scroll', role: 'region', 'aria-label': caption, tabindex: 0 },
    h('table', null,
      h('caption', { class: 'visually-hidden' }, caption),
      h('thead', null, h('tr', null, head.map((text) => h('th', { scope: 'col', class: text.startsWith('#') ? 'number' : null }, text.replace(/^#/, ''))))),
      h('tbody', null, rows)));
}

/** Facts as names and values. */
export function facts(entries) {
  return h('dl', { class: 'facts' }, entries.filter(Boolean).map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))));
}

const TABS = [['', 'Overview'], ['images', 'Images'], ['jobs', 'Jobs'], ['masks', 'Masks'], ['channels', 'Channels'], ['devices', 'Devices'], ['settings', 'Settings']];

/** A site's head: where we are, its name, its tabs. */
export function siteHead(site, tab, me) {
  const counts = { images: site.images, masks: site.masks, devices: site.devices, jobs: site.open_jobs || null };
  return h('div', { class: 'site-head' },
    !me.site && h('nav', { class: 'crumbs', 'aria-label': 'Where you are' }, h('a', { href: link() }, 'Sites')),
    h('h1', null, site.title, site.title !== site.name && h('span', { class: 'muted small' }, ` ${site.name}`)),
    h('nav', { class: 'tabs', 'aria-label': `Pages of ${site.title}` }, TABS.map(([name, title]) =>
      h('a', { href: name ? link('sites', site.name, name) : link('sites', site.name), 'aria-current': name === tab ? 'page' : null,
        // On a telephone the tabs do not fit; the open one shall be in sight.
        ref: name === tab ? (tab) => queueMicrotask(() => tab.scrollIntoView({ block: 'nearest', inline: 'center' })) : null },
        title, counts[name] ? h('span', { class: 'count' }, count(counts[name])) : null))));
}

/** A link to a mask, or what runs without one. */
export const maskLink = (site, version) => (version === null || version === undefined
  ? h('span', null, 'the plain base')
  : h('a', { href: link('sites', site, 'masks', version) }, maskName(version)));

/** A secret that is shown this once, until `close`; `rest` says what to do with it. */
export function shownOnce(props, lead, secret, rest, close) {
  return h('section', { class: 'notice is-good', role: 'status', ...props },
    h('p', null, h('strong', null, lead), 'This is its token. It is shown this once; the server does not know it either.'),
    h('p', null, h('code', { class: 'token' }, secret)),
    rest,
    h('div', { class: 'buttons' },
      navigator.clipboard && h('button', { type: 'button', onclick: (event) => { const button = event.currentTarget; navigator.clipboard.writeText(secret).then(() => { button.textContent = 'Copied'; }); } }, 'Copy the token'),
      h('button', { type: 'button', onclick: close }, 'I have it')));
}

/** A labelled input; `hint` says what is expected. */
export function field(label, input, hint) {
  return h('label', { class: 'field' }, h('span', { class: 'field-label' }, label), input, hint && h('span', { class: 'hint' }, hint));
}

/**
 * A form that sends its fields once: its button is out of use meanwhile, a refusal is shown in it.
 * @param {{ update: () => void }} context
 * @param {(fields: Record<string, string>, form: HTMLFormElement) => Promise<void>} send
 */
export function action(context, send) {
  const state = { busy: false, problem: null };
  return {
    get busy() { return state.busy; },
    notice: () => state.problem && problemNotice(state.problem),
    clear() { state.problem = null; },
    async run(fields, form) {
      if (state.busy) return;
      Object.assign(state, { busy: true, problem: null });
      context.update();
      try {
        await send(fields, form);
      } catch (error) {
        state.problem = error;
      }
      state.busy = false;
      context.update();
    },
    onsubmit(event) {
      event.preventDefault();
      const form = event.currentTarget;
      this.run(Object.fromEntries(new FormData(form)), form);
    },
  };
}
