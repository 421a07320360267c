// What jobs of a site go by: its name for people, its KPI, what its gate asks for, its view.

import { h } from '../dom.js';
import { DEPTHS, KPIS, kpiName, viewName } from '../format.js';
import { action, facts, field, siteHead } from '../parts.js';
import { may } from '../permission.js';

/** KPIs that a site defines itself, by their names for people. */
const DEFINED = { 'recall-at-false-alarm': 'Defects found at a rate of false alarms', cost: 'Cost of an image' };

/** What the gate asks for (`src/domain/gate.rs`): [key, label, hint]. */
const GATE = [
  ['margin', 'Margin', 'how much worse than the base still counts as no worse; .01 is a point'],
  ['group-loss', 'Loss of a class or slice', 'what holds a mask even if the interval does not show it'],
  ['least-per-class', 'Labelled images of each class', 'below it no interval is believed'],
  ['retrieval-gain', 'Gain of instance retrieval', 'the least that counts as gained; without labels, as all below'],
  ['rank-gain', 'Gain of effective rank', 'the share that counts as gained'],
  ['rank-loss', 'Loss of effective rank', 'the share that counts as lost'],
  ['parting-loss', 'Loss of effective rank while patches keep theirs', 'patches are not asked if it is not above the loss before'],
  ['distance-loss', 'Loss of distance', 'the share of 1 less the mean cosine that counts as collapsing'],
  ['least-stability', 'Neighbours that stay', 'the least share'],
  ['cluster-loss', 'Fall of cluster stability', 'what counts as lost'],
  ['decay-drift', 'Drift of the decay', 'how much farther from 1 its exponent may get'],
];

/** A view's region, in percent of the upright picture: [key, label]. */
const REGION = [['left', 'Left edge'], ['top', 'Upper edge'], ['width', 'Width'], ['height', 'Height']];

const kindOf = (kpi) => (typeof kpi === 'string' ? kpi : kpi.name);

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 */
export function settingsPage(context, { site: name }) {
  const { api, me, path, update, announce } = context;
  let site;
  /** The KPI that is chosen, saved or not; null: the site's. */
  let chosen = null;
  let saved = false;
  const save = action(context, async (fields) => {
    saved = false;
    const change = { title: fields.title.trim(), kpi: kpiOf(fields), gate: gateOf(fields), view: viewOf(fields) };
    site = await (await api.send('PATCH', path`sites/${name}`, { body: change })).json();
    chosen = null;
    saved = true;
    announce('The settings are saved.');
  });
  return {
    title: `Settings of ${name}`,
    async load() {
      site = await api.get(path`sites/${name}`);
    },
    render: () => [
      siteHead(site, 'settings', me),
      h('p', { class: 'lead' }, 'What masks of jobs to come are judged by and see. Masks that are there keep their verdict and their view.'),
      may(me, 'manage-sites')
        ? h('form', { class: 'card', 'aria-label': 'Settings', oninput: () => { if (saved) { saved = false; update(); } }, onsubmit: (event) => save.onsubmit(event) },
          save.notice(),
          field('Name for people', h('input', { name: 'title', required: true, maxlength: 200, value: site.title, autocomplete: 'off' })),
          kpiFields(site.kpi, chosen ?? kindOf(site.kpi), (kind) => { chosen = kind; saved = false; update(); }),
          h('details', null, h('summary', null, 'What the gate asks for'),
            h('div', { class: 'fields' }, GATE.map(([key, label, hint]) =>
              field(label, h('input', { name: key, type: 'number', required: true, min: 0, step: key === 'least-per-class' ? 1 : 'any', value: site.gate[key] }), hint)))),
          viewFields(site.view),
          h('div', { class: 'buttons' }, h('button', { type: 'submit', class: 'primary', disabled: save.busy }, 'Save')),
          saved && h('p', { key: 'saved', role: 'status' }, 'Saved.'))
        : facts([['Judged by', kpiName(site.kpi)], ['Sees', viewName(site.view)], ...GATE.map(([key, label]) => [label, String(site.gate[key])])]),
    ],
  };
}

function kpiFields(kpi, kind, choose) {
  const own = kindOf(kpi) === kind ? kpi : {};
  return h('div', { class: 'fields' },
    field('Judged by', h('select', { name: 'kpi', value: kind, onchange: (event) => choose(event.target.value) },
      Object.entries({ ...KPIS, ...DEFINED }).map(([word, title]) => h('option', { value: word }, title)))),
    kind === 'recall-at-false-alarm' && [
      keyed('normal', 'Class of good parts', h('input', { name: 'normal', required: true, value: own.normal ?? '', autocomplete: 'off' })),
      keyed('rate', 'False alarms', h('input', { name: 'rate', type: 'number', required: true, min: 0, max: 0.5, step: 'any', value: own.rate ?? 0.05 }), 'the share of good parts that may be taken for bad; at most .5'),
    ],
    kind === 'cost' && keyed('costs', 'Costs', h('textarea', { name: 'costs', required: true, rows: 6, spellcheck: 'false', value: JSON.stringify(own.costs ?? { ok: { crack: 1 }, crack: { ok: 20 } }, null, 1) }),
      'by true class, then by answer; what is left out costs nothing'));
}

/** Numbers in percent, since people point at a part of a picture that way; the API has shares. */
function viewFields({ region, tiles, size, 'bit-depth': depth }) {
  const number = (name, label, value, most, hint) => field(label, h('input', { name, type: 'number', required: true, min: 0, max: most, step: 'any', value }), hint);
  const percent = (name, label, share, most, hint) => number(name, label, +(share * 100).toFixed(2), most, hint);
  return h('details', null, h('summary', null, 'What the network sees of a picture'),
    h('p', { class: 'hint' }, 'A region of each picture, cut into tiles. The next training starts from the plain base where this changes; devices feed each mask what it was trained with.'),
    h('div', { class: 'fields' },
      REGION.map(([key, label]) => percent(key, label, region[key], 100, 'of the upright picture, in %')),
      number('columns', 'Tiles side by side', tiles.columns, 8, '1 to 8; time and memory grow with the tiles'),
      number('rows', 'Tiles one below the other', tiles.rows, 8, '1 to 8'),
      percent('overlap', 'Overlap', tiles.overlap, 50, 'of a tile, shared with each neighbour, in %'),
      field('Size', h('input', { name: 'size', type: 'number', min: 32, max: 1024, value: size ?? '' }), 'of the input in pixels; empty: as the base has it'),
      field('More than 8 bits a colour', h('select', { name: 'bit-depth', value: depth ?? '' },
        Object.entries({ '': 'as the base has it', ...DEPTHS }).map(([word, title]) => h('option', { value: word }, title))))));
}

function viewOf(fields) {
  return {
    region: Object.fromEntries(REGION.map(([key]) => [key, Number(fields[key]) / 100])),
    tiles: { columns: Number(fields.columns), rows: Number(fields.rows), overlap: Number(fields.overlap) / 100 },
    size: fields.size ? Number(fields.size) : undefined,
    'bit-depth': fields['bit-depth'] || undefined,
  };
}

/** Fields that come and go must not take over each other's input. */
const keyed = (key, label, input, hint) => ({ ...field(label, input, hint), props: { key, class: 'field' } });

function kpiOf({ kpi, normal, rate, costs }) {
  if (kpi === 'recall-at-false-alarm') return { name: kpi, normal: normal.trim(), rate: Number(rate) };
  if (kpi !== 'cost') return kpi;
  try {
    return { name: kpi, costs: JSON.parse(costs) };
  } catch (error) {
    throw new Error(`The costs are no JSON (${error.message}).`);
  }
}

const gateOf = (fields) => Object.fromEntries(GATE.map(([key]) => [key, Number(fields[key])]));
