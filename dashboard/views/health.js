// What may be wrong with a site's images, and the one button that leaves it out.

import { h } from '../dom.js';
import { counted, sentence } from '../format.js';
import { action, table } from '../parts.js';
import { may } from '../permission.js';

/** Pictures shown of a finding. */
const SHOWN = 4;
/** Its images are of the validation set, which no snapshot has and this page cannot show. */
const LABELS = 'label-error';

/**
 * A panel that asks by itself: a site with many images of before is looked at for seconds,
 * and the page need not wait.
 * @param {import('../main.js').Context} context
 * @param {string} site
 */
export function healthPanel(context, site) {
  const { api, me, path, update, announce } = context;
  let health = null;
  let made = null;
  const exclude = () => health.findings.map((finding) => finding.code).filter((code) => code !== LABELS);
  const snapshot = action(context, async () => {
    made = await api.post(path`sites/${site}/snapshots`, { exclude: exclude() });
    announce(`A snapshot of ${counted(made.images, 'image')} was made.`);
  });
  return {
    async load() {
      health = await api.get(path`sites/${site}/health`, { limit: SHOWN });
      update();
    },
    render() {
      if (!health?.images) return null;
      const { findings, unmeasured, rejected } = health;
      return h('section', { class: 'card', 'aria-labelledby': 'health-title' },
        h('h2', { id: 'health-title' }, 'Data health'),
        findings.length === 0
          ? h('p', null, `Nothing was found wrong with ${counted(health.images, 'image')}.`)
          : table('Findings', ['Finding', '#Images', 'Why', 'The first'], findings.map((finding) => row(site, path, finding))),
        unmeasured > 0 && h('p', { class: 'muted' }, `${counted(unmeasured, 'image')} not looked at yet; open this page again.`),
        rejected.count > 0 && h('p', { class: 'muted' }, `${counted(rejected.count, 'submitted file')} rejected, such as ${rejected.newest[0].name}: ${sentence(rejected.newest[0].detail)}`),
        snapshot.notice(),
        made
          ? [h('p', { role: 'status' }, `The snapshot has ${counted(made.images, 'image')}; ${counted(made.excluded, 'image')} left out. Train on it:`),
            h('pre', null, h('code', null, `katagami job start ${site} --snapshot ${made.id} --watch`))]
          : exclude().length > 0 && may(me, 'submit') && h('p', null,
            h('button', { type: 'button', disabled: snapshot.busy || unmeasured > 0, onclick: () => snapshot.run() }, 'Make a snapshot without them'),
            h('span', { class: 'muted small' }, ' Nothing is deleted.')));
    },
  };
}

function row(site, path, { code, count, explanation, images }) {
  const pictures = code === LABELS ? [] : images.slice(0, SHOWN);
  return h('tr', { key: code },
    h('th', { scope: 'row' }, code),
    h('td', { class: 'number' }, String(count)),
    h('td', null, sentence(explanation)),
    h('td', null, h('div', { class: 'thumbnails' }, pictures.map((digest, at) =>
      h('katagami-picture', { key: digest, path: path`sites/${site}/images/${digest}/bytes`, alt: `${code}, image ${at + 1}` })))));
}
