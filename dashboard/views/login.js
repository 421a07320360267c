// Logging in: a token in, a session out.

import { h } from '../dom.js';
import { action, field } from '../parts.js';

/** @param {{ logIn: (token: string) => Promise<void>, entered: () => void, update: () => void, why?: string }} options */
export function loginPage({ logIn, entered, update, why }) {
  const form = action({ update }, async ({ token }) => {
    try {
      await logIn(token.trim());
    } catch (error) {
      throw error.status === 401 ? new Error('The server does not know this token. Was all of it copied?') : error;
    }
    entered();
  });
  return {
    title: 'Log in',
    load: async () => {},
    render: () => h('section', { class: 'login card' },
      h('h1', null, 'Log in'),
      h('p', { class: 'muted' }, 'One vision model, adapted to every factory.'),
      why && h('div', { class: 'notice is-warn', role: 'alert' }, why),
      form.notice(),
      h('form', { method: 'dialog', onsubmit: (event) => { why = null; form.onsubmit(event); } },
        field('Token', h('input', {
          name: 'token', type: 'password', required: true, autocomplete: 'off', spellcheck: 'false',
          ref: (input) => queueMicrotask(() => input.focus()),
        })),
        h('button', { type: 'submit', class: 'primary', disabled: form.busy }, form.busy ? 'Logging in …' : 'Log in')),
      h('p', { class: 'hint' }, 'The first start of ', h('code', null, 'katagami serve'), ' prints where it has put the admin\'s token. ',
        'The token stays in this tab and is forgotten when the tab is closed.')),
  };
}
