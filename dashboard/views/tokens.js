// Tokens: who has one, making another, and taking one back.

import { h } from '../dom.js';
import { action, emptyNotice, field, shownOnce, table, time } from '../parts.js';

/** Roles that a token is made for here, and what each of them is for. Those of devices come with the device. */
const ROLES = {
  operator: 'runs the platform: all sites, but no tokens and no forced releases',
  site: 'an engineer of one site',
  auditor: 'reads everything, changes nothing',
  worker: 'leases jobs, nothing else',
  admin: 'may do everything',
};

/** @param {import('../main.js').Context} context */
export function tokensPage(context) {
  const { api, path, update, announce } = context;
  let tokens, sites;
  /** The token that was just made, with its secret, which is in no other place and goes with the page. */
  let issued = null;
  let role = 'operator';
  /** The token that is about to be revoked. */
  let doubted = null;

  async function load() {
    [tokens, sites] = await Promise.all([api.all('tokens'), api.all('sites')]);
  }
  const make = action(context, async (fields, form) => {
    const expires = fields.expires ? new Date(fields.expires).toISOString() : undefined;
    issued = await api.post('tokens', { name: fields.name.trim(), role, site: role === 'site' ? fields.site : undefined, expires_at: expires });
    form.reset();
    role = 'operator';
    await load();
  });
  const revoke = action(context, async () => {
    const { id, name } = doubted;
    await api.send('DELETE', path`tokens/${id}`);
    doubted = null;
    announce(`Token ${name} is revoked.`);
    await load();
  });

  function doubt(token) {
    revoke.clear();
    doubted = token;
    update();
  }

  return {
    title: 'Tokens',
    load,
    leave: () => { issued = null; },
    render: () => [
      h('h1', null, 'Tokens'),
      h('p', { class: 'lead' }, 'Whoever speaks to this server shows one. The server knows only their digests.'),
      issued && shownOnce({ key: `token ${issued.token.id}`, 'data-issued': issued.token.name }, `The token ${issued.token.name} is made. `, issued.secret, null,
        () => { issued = null; update(); }),
      revoke.notice(),
      tokens.length
        ? table('Tokens', ['Name', 'Role', 'State', 'Made', 'Ends', ''], tokens.map((token) => row(token, doubted, revoke, doubt)))
        : emptyNotice('No token yet', 'Make one for each person and each worker.'),
      h('details', { class: 'card' }, h('summary', null, 'Make a token'),
        make.notice(),
        h('form', { 'aria-label': 'Make a token', onsubmit: (event) => make.onsubmit(event) },
          h('div', { class: 'fields' },
            field('Name', h('input', { name: 'name', required: true, maxlength: 128, placeholder: 'Aiko, line A', autocomplete: 'off' }), 'for the audit trail'),
            field('Role', h('select', { name: 'role', value: role, onchange: (event) => { role = event.target.value; update(); } },
              Object.keys(ROLES).map((word) => h('option', { value: word }, word))), ROLES[role]),
            role === 'site' && h('label', { key: 'site', class: 'field' }, h('span', { class: 'field-label' }, 'Site'),
              h('select', { name: 'site', required: true }, sites.map((site) => h('option', { key: site.name, value: site.name }, site.name)))),
            field('Ends', h('input', { name: 'expires', type: 'date' }), 'left empty: never')),
          h('button', { type: 'submit', class: 'primary', disabled: make.busy }, 'Make it'))),
    ],
  };
}

/** What there is to say of a token: [tone, word]. */
function state(token, now = Date.now()) {
  if (token.revoked_at) return ['bad', 'revoked'];
  return token.expires_at && Date.parse(token.expires_at) <= now ? ['idle', 'ended'] : ['good', 'in force'];
}

function row(token, doubted, revoke, doubt) {
  const [tone, word] = state(token);
  return h('tr', { key: token.id },
    h('th', { scope: 'row' }, token.name),
    h('td', null, token.role, token.site && h('span', { class: 'tag' }, token.site)),
    h('td', null, h('span', { class: `badge is-${tone}` }, word)),
    h('td', null, time(token.created_at)),
    h('td', null, token.expires_at ? new Date(token.expires_at).toLocaleDateString() : 'never'),
    h('td', null, word === 'in force' && (doubted?.id === token.id
      ? h('div', { key: 'sure', class: 'buttons' },
        h('button', { type: 'button', class: 'danger', disabled: revoke.busy, onclick: () => revoke.run() }, 'Revoke it for good'),
        h('button', { type: 'button', onclick: () => doubt(null) }, 'Keep it'))
      : h('button', { key: 'ask', type: 'button', class: 'quiet', 'aria-label': `Revoke ${token.name} …`, onclick: () => doubt(token) }, 'Revoke …'))));
}
