// Workers: who trains, on what, and at which job.

import { h } from '../dom.js';
import { bytes } from '../format.js';
import { badge, emptyNotice, table, time } from '../parts.js';
import { link } from '../router.js';

/** @param {import('../main.js').Context} context */
export function workersPage({ api }) {
  let workers;
  return {
    title: 'Workers',
    async load() {
      workers = await api.all('workers');
    },
    on: (event) => event.kind === 'job-changed',
    render: () => [
      h('h1', null, 'Workers'),
      h('p', { class: 'lead' }, 'Who asked for work in the last minutes. A job waits until one of them is free.'),
      workers.length
        ? table('Workers', ['Worker', 'Does', 'Computes on', '#Memory', 'Version', 'Last heard of'], workers.map((worker) => h('tr', { key: worker.name },
          h('th', { scope: 'row' }, worker.name),
          h('td', null, worker.job ? h('a', { href: link('jobs', worker.job) }, badge('running', 'a job')) : badge('idle', 'waits')),
          h('td', null, worker.device),
          h('td', { class: 'number' }, worker.memory_bytes ? bytes(worker.memory_bytes) : '–'),
          h('td', null, worker.version),
          h('td', null, time(worker.last_seen_at)))))
        : emptyNotice('No worker asks for work', 'The server starts one by itself unless it was told not to. On any other machine, with a token of role worker:', `katagami worker run --server ${location.origin} --token TOKEN`),
    ],
  };
}
