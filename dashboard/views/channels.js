// Channels: which mask the devices of a site run, and moving that: release, and back.

import { h } from '../dom.js';
import { maskName, sameView, sentence, viewName } from '../format.js';
import { action, badge, field, maskLink, siteHead, table, time } from '../parts.js';
import { may } from '../permission.js';

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 * @param {URLSearchParams} query `mask`: the one that is to be released
 */
export function channelsPage(context, { site: name }, query) {
  const { api, me, path, update, announce } = context;
  let site, channels, masks, histories;
  /** The move that is being prepared. @type {{ channel: any, to: number|null, back: boolean }|null} */
  let pending = null;
  let wanted = query.get('mask');

  const of = (channel) => path`sites/${name}/channels/${channel}`;
  const maskOf = (version) => masks.find((mask) => mask.version === version);

  const move = action(context, async (fields) => {
    const { channel } = pending;
    const to = 'mask' in fields ? (fields.mask === '' ? null : Number(fields.mask)) : pending.to;
    const change = { mask: to, reason: fields.reason?.trim() || undefined, force: fields.force === 'on' };
    // The revision that the person looked at: what somebody else did meanwhile is never undone unseen.
    await api.put(of(channel.name), change, channel.revision);
    announce(`Channel ${channel.name} points at ${maskName(to)}.`);
    pending = null;
    await load();
  });

  async function load() {
    [site, channels, masks] = await Promise.all([api.get(path`sites/${name}`), api.all(path`sites/${name}/channels`), api.all(path`sites/${name}/masks`)]);
    // `stable` can be released to although nobody has moved it yet.
    if (!channels.some((channel) => channel.name === 'stable')) {
      channels.unshift({ site: name, name: 'stable', mask: null, revision: 0, updated_at: null });
    }
    masks.sort((a, b) => b.version - a.version);
    histories = new Map(await Promise.all(channels.map(async (channel) => [channel.name, channel.revision ? (await api.get(`${of(channel.name)}/history`, { limit: 50 })).items : []])));
    if (wanted && may(me, 'release')) {
      prepare(channels.find((channel) => channel.name === 'stable'), maskOf(Number(wanted))?.version ?? null, false);
      wanted = null;
    }
  }

  function prepare(channel, to, back) {
    move.clear();
    pending = { channel, to, back };
    update();
  }

  return {
    title: `Channels of ${name}`,
    load,
    on: (event) => event.site === name && ['channel-moved', 'mask-published', 'site-changed'].includes(event.kind),
    render: () => [
      siteHead(site, 'channels', me),
      h('p', { class: 'lead' }, 'A device runs what its channel points at. Every move is kept, and can be taken back.'),
      channels.map((channel) => {
        const history = histories.get(channel.name) ?? [];
        return h('section', { key: channel.name, class: 'card channel', 'data-channel': channel.name, 'aria-labelledby': `channel-${channel.name}` },
          h('div', { class: 'title' }, h('h2', { id: `channel-${channel.name}` }, channel.name),
            h('p', { class: 'big' }, maskLink(name, channel.mask), ' ', maskOf(channel.mask) && badge(maskOf(channel.mask).verdict)),
            h('span', { class: 'muted' }, channel.updated_at ? ['since ', time(channel.updated_at)] : 'never moved')),
          may(me, 'release') && (pending?.channel.name === channel.name
            ? moveForm({ pending, channel, masks, site, me, move, set: (to) => prepare(pending.channel, to, pending.back), cancel: () => { pending = null; update(); } })
            : h('div', { class: 'buttons' },
              h('button', { type: 'button', onclick: () => prepare(channel, masks.find((mask) => mask.version !== channel.mask)?.version ?? null, false) }, 'Release …'),
              history.length > 0 && h('button', { type: 'button', onclick: () => prepare(channel, history[0].from ?? null, true) }, `Back to ${maskName(history[0].from)}`))),
          history.length > 0 && h('details', { open: channel.name === 'stable' }, h('summary', null, 'History'), moves(name, channel, history)));
      }),
      may(me, 'release') && newChannel(channels, (channel) => {
        channels.push(channel);
        prepare(channel, null, false);
      }),
    ],
  };
}

/**
 * What has to be given for a move to `mask`: nothing, a reason, or a reason and force.
 * @param {{ verdict: string, view: any }|undefined} mask
 * @param {{ view: any }} site
 * @param {{ role: string }} me
 */
export function demands(mask, site, me) {
  const view = mask !== undefined && !sameView(mask.view, site.view);
  if (mask?.verdict === 'refused') return { reason: true, force: true, allowed: may(me, 'force-release'), view };
  return { reason: view || mask?.verdict === 'held', force: false, allowed: true, view };
}

function moveForm({ pending, channel, masks, site, me, move, set, cancel }) {
  const { to, back } = pending;
  const mask = masks.find((candidate) => candidate.version === to);
  const needs = demands(mask, site, me);
  const moved = !move.busy && channel.revision !== pending.channel.revision;
  return h('form', { key: 'move', class: 'move', 'aria-label': `Move channel ${channel.name}`, onsubmit: (event) => move.onsubmit(event) },
    h('h3', null, back ? `Take ${channel.name} back to ${maskName(to)}` : `Release to ${channel.name}`),
    move.notice(),
    moved && h('div', { class: 'notice is-warn', role: 'alert' }, `Somebody has moved the channel meanwhile: it points at ${maskName(channel.mask)} now. `, h('button', { type: 'button', onclick: () => { pending.channel = channel; set(to); } }, 'I have seen it')),
    !back && field('Mask', h('select', { name: 'mask', value: to ?? '', onchange: (event) => set(event.target.value === '' ? null : Number(event.target.value)) },
      masks.map((candidate) => h('option', { key: candidate.version, value: candidate.version, disabled: candidate.version === channel.mask },
        `mask ${candidate.version} (${candidate.verdict}${candidate.version === channel.mask ? ', runs now' : ''})`)),
      h('option', { key: 'none', value: '', disabled: channel.mask === null }, 'no mask: the plain base'))),
    h('p', null, to === channel.mask ? `Devices on ${channel.name} run it already.` : [`Devices on ${channel.name} will run `, h('strong', null, maskName(to)), ` instead of ${maskName(channel.mask)}, each at its next contact.`]),
    needs.view && h('div', { class: 'notice is-warn' }, h('p', null, h('strong', null, 'It was trained with another view. '), `It sees: ${viewName(mask.view)}; the site: ${viewName(site.view)}. Devices feed it through its own. Releasing it is recorded as an override.`)),
    mask && mask.verdict !== 'passed' && h('div', { class: `notice is-${needs.force ? 'bad' : 'warn'}` }, h('p', null, h('strong', null, `The gate ${needs.force ? 'refused' : 'held'} this mask. `), mask.reasons.map(sentence).join(' ')),
      h('p', null, needs.allowed ? 'Releasing it all the same is recorded as an override.' : 'Only an admin can force its release.')),
    field('Reason', h('input', { name: 'reason', required: needs.reason, maxlength: 1000, autocomplete: 'off', ref: (input) => queueMicrotask(() => input.focus()) }), needs.reason ? 'needed, and kept in the history' : 'kept in the history; may be left empty'),
    needs.force && needs.allowed && h('label', { class: 'check' }, h('input', { type: 'checkbox', name: 'force', required: true }), ' Force the release of a mask that the gate refused'),
    h('div', { class: 'buttons' },
      h('button', { type: 'submit', class: needs.reason ? 'danger' : 'primary', disabled: move.busy || !needs.allowed || moved || to === channel.mask },
        back ? `Back to ${maskName(to)}` : to === null ? 'Release the plain base' : `Release mask ${to}`),
      h('button', { type: 'button', onclick: cancel }, 'Leave it')));
}

function moves(site, channel, history) {
  return table(`History of ${channel.name}`, ['#Move', 'From', 'To', 'When', 'Who', 'Why'], history.map((entry) => h('tr', { key: entry.revision, class: entry.override ? 'is-override' : null },
    h('td', { class: 'number' }, entry.revision),
    h('td', null, maskLink(site, entry.from)), h('td', null, maskLink(site, entry.to)),
    h('td', null, time(entry.at)), h('td', null, entry.actor),
    h('td', null, entry.override && [badge('override'), ' '], entry.reason ?? h('span', { class: 'muted' }, '–')))));
}

function newChannel(channels, make) {
  return h('details', { class: 'card' }, h('summary', null, 'Add a channel'),
    h('form', {
      onsubmit: (event) => {
        event.preventDefault();
        const name = new FormData(event.currentTarget).get('name');
        event.currentTarget.reset();
        event.currentTarget.closest('details').open = false;
        const known = channels.find((channel) => channel.name === name);
        make(known ?? { name, mask: null, revision: 0, updated_at: null });
      },
    },
    field('Name', h('input', { name: 'name', required: true, pattern: '[a-z0-9]([a-z0-9.\\-]{0,61}[a-z0-9])?', placeholder: 'canary', autocomplete: 'off' }), 'lower-case letters, digits, hyphens and dots; it exists once it was moved'),
    h('button', { type: 'submit' }, 'Add …')));
}
