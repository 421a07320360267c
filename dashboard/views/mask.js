// Masks: a site's list, and one mask with the evidence kept with it.

import { densityBars, differenceBar, lossCurve, reachOf } from '../charts.js';
import { h } from '../dom.js';
import { KPIS, bytes, count, counted, duration, kpiGain, kpiName, kpiValue, percent, points, sentence, short, viewName } from '../format.js';
import { badge, emptyNotice, facts, maskLink, siteHead, table, time } from '../parts.js';
import { may } from '../permission.js';
import { link } from '../router.js';

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 */
export function masksPage({ api, me, path }, { site: name }) {
  let site, masks, channels;
  return {
    title: `Masks of ${name}`,
    async load() {
      [site, masks, channels] = await Promise.all([api.get(path`sites/${name}`), api.all(path`sites/${name}/masks`), api.all(path`sites/${name}/channels`)]);
      masks.sort((a, b) => b.version - a.version);
    },
    on: (event) => event.site === name && ['mask-published', 'channel-moved'].includes(event.kind),
    render: () => {
      const reach = reachOf(masks.filter((mask) => mask.kpi_difference).map((mask) => estimate(mask.kpi_difference)).concat({ value: 0.01, lower: 0, upper: 0 }));
      return [
        siteHead(site, 'masks', me),
        masks.length === 0
          ? emptyNotice('No mask yet', site.masks === 0 && site.images ? 'A training makes one, unless nothing is better than the plain base.' : 'Send images, then start a training.', site.images ? `katagami job start ${name}` : `katagami images submit ${name} FOLDER`)
          : table('Masks', ['Mask', 'Gate', kpiName(site.kpi), 'Against the base', '#Dropped', '#Size', 'On', 'Published'], masks.map((mask) => h('tr', { key: mask.version },
            h('th', { scope: 'row' }, maskLink(name, mask.version)),
            h('td', null, badge(mask.verdict)),
            h('td', null, mask.kpi_base === null ? '–' : `${kpiValue(site.kpi, mask.kpi_base)} → ${kpiValue(site.kpi, mask.kpi_mask)}`),
            h('td', null, mask.kpi_difference ? differenceBar(estimate(mask.kpi_difference), `better by ${kpiGain(site.kpi, mask.kpi_difference[0])}`, reach) : '–'),
            h('td', { class: 'number' }, count(mask.flips)),
            h('td', { class: 'number' }, bytes(mask.bytes)),
            h('td', null, channels.filter((channel) => channel.mask === mask.version).map((channel) => h('span', { class: 'tag' }, channel.name))),
            h('td', null, time(mask.created_at))))),
      ];
    },
  };
}

const estimate = ([value, lower, upper]) => ({ value, lower, upper });

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string, version: string }} params
 */
export function maskPage({ api, me, path }, { site: name, version }) {
  let mask, report, channels;
  return {
    title: `Mask ${version} of ${name}`,
    async load() {
      [mask, report, channels] = await Promise.all([
        api.get(path`sites/${name}/masks/${version}`), api.get(path`sites/${name}/masks/${version}/report`), api.all(path`sites/${name}/channels`),
      ]);
    },
    on: (event) => event.site === name && event.kind === 'channel-moved',
    render: () => {
      const on = channels.filter((channel) => channel.mask === mask.version);
      return [
        h('nav', { class: 'crumbs', 'aria-label': 'Where you are' }, h('a', { href: link('sites', name) }, name), ' / ', h('a', { href: link('sites', name, 'masks') }, 'Masks')),
        h('div', { class: 'title' }, h('h1', null, `Mask ${mask.version}`), badge(mask.verdict),
          may(me, 'release') && h('a', { class: 'button', href: `${link('sites', name, 'channels')}?mask=${mask.version}` }, 'Release …')),
        h('p', { class: 'lead' }, on.length ? ['Devices on ', on.map((channel, index) => [index > 0 && ', ', h('code', null, channel.name)]), ' run it.'] : 'No channel points at it.'),
        worseFor(report.worse ?? []),
        verdict(mask.verdict, mask.reasons),
        reportSections(report, mask),
        h('section', { class: 'card' }, h('h2', null, 'The artefact'), facts([
          ['Size', `${bytes(mask.bytes)}: ${counted(mask.flips, 'weight')} dropped`],
          ['Artefact', h('code', { title: mask.digest }, short(mask.digest))],
          ['Base', h('code', { title: mask.base }, short(mask.base))],
          ['Sees', viewName(mask.view)],
          ['Masked weights', h('code', { title: mask.weights }, short(mask.weights))],
          ['Started from', maskLink(name, mask.parent)],
          ['Job', h('a', { href: link('jobs', mask.job) }, h('code', null, mask.job.slice(-8)))],
          ['Published', time(mask.created_at)],
        ]), h('pre', null, h('code', null, `katagami mask get ${name} ${mask.version}`))),
      ];
    },
  };
}

/** Who pays for the mean: said before anything else. */
function worseFor(groups) {
  return groups.length > 0 && h('div', { class: 'notice is-bad', 'data-worse': groups.length }, h('p', null, h('strong', null, 'Worse for some, whatever the mean says:')),
    h('ul', null, groups.map((group) => h('li', { key: `${group.kind} ${group.name}` },
      `${group.kind} `, h('code', null, group.name), ` on ${counted(group.images, 'image')}: ${percent(group.figure.base.value)} → ${percent(group.figure.mask.value)} (${points(group.difference.value)} points)`))));
}

/** What the gate decided, as sentences. */
function verdict(word, reasons) {
  const [tone, text] = {
    passed: ['good', 'The gate lets it pass: it is no worse than the base, and a benefit is shown.'],
    held: ['warn', 'The gate holds it. Who may release can do so all the same, with a reason, which is recorded.'],
    refused: ['bad', 'The gate refuses it: it is shown to be worse. Only an admin can force its release, with a reason, which is recorded.'],
  }[word] ?? ['idle', word];
  return h('div', { class: `notice is-${tone}`, 'data-verdict': word }, h('p', null, h('strong', null, text)),
    reasons.length > 0 && h('ul', null, reasons.map((reason) => h('li', { key: reason }, sentence(reason)))));
}

/**
 * The sections of a report (`src/domain/report.rs`), also of a job that found no improvement.
 * @param {any} report
 * @param {any|null} mask
 */
export function reportSections(report, mask) {
  const { validation, test, random_mask: random, label_free: signals, training, images } = report;
  const all = [validation, test, random].filter(Boolean).flatMap((figures) => Object.keys(KPIS).map((kpi) => figureOf(figures, kpi)).filter(Boolean).map((figure) => figure.difference))
    .concat([validation, test].filter(Boolean).flatMap((figures) => figures.groups ?? []).map((group) => group.figure.difference));
  const reach = all.length ? reachOf(all) : 0.01;
  return [
    test && h('section', { class: 'card', 'data-section': 'test' }, h('h2', null, 'On pictures that nothing has seen'),
      h('p', { class: 'muted' }, `Balanced accuracy on ${counted(test.images, 'labelled image')} of ${test.classes} classes, which neither training nor gate has read, with 95 % intervals.`),
      comparison('Base and mask on pictures that nothing has seen', test, report.kpi, reach, random)),
    validation && h('section', { class: 'card', 'data-section': 'validation' }, h('h2', null, 'What the gate judged by'),
      h('p', { class: 'muted' }, `The validation set: ${counted(validation.images, 'labelled image')}, ${count(validation.smallest_class)} of the smallest class. `,
        `It judges by “${kpiName(report.kpi)}”: the mask has to be better with the whole interval of the difference.`),
      validation.widened && h('p', null, `Interval widened: this validation set has judged ${counted(validation.widened.judged_before, 'mask')} before. At ${(validation.widened.confidence * 100).toFixed(2)} % the difference is `,
        h('strong', null, kpiGain(report.kpi, validation.widened.difference.value)), ` (${kpiGain(report.kpi, validation.widened.difference.lower)} to ${kpiGain(report.kpi, validation.widened.difference.upper)}).`),
      comparison('Base and mask on the validation set', validation, report.kpi, reach, null),
      groupTable(validation.groups ?? [], reach), confusionTable(validation.confusion)),
    signals && h('section', { class: 'card', 'data-section': 'signals' }, h('h2', null, 'Signals without labels'),
      h('p', { class: 'muted' }, `On ${counted(signals.images, 'image')}. `, validation ? 'The gate did not need them: it had labels.' : 'The gate judged by these, and by no single one of them.'), signalTable(signals)),
    h('section', { class: 'card' }, h('h2', null, 'The training'),
      facts([
        ['Images', `${count(images.used)} used, ${count(images.left_out)} left out because they are in the validation set, or nearly`],
        ['Took', `${duration(training.seconds)}, ${training.images_per_second.toFixed(1)} images a second`],
        ['Dropped', counted(training.flips, 'weight')],
        training.flips_against_parent !== null && training.flips_against_parent !== undefined && ['Changed against its parent', counted(training.flips_against_parent, 'bit')],
      ]),
      // The page of a job shows the curve itself.
      mask && training.loss.length > 0 && lossCurve(training.loss)),
    training.density.length > 0 && h('details', { class: 'card' }, h('summary', null, `Weights dropped by layer (${counted(training.density.length, 'tensor')})`),
      h('div', { class: 'scroll', role: 'region', 'aria-label': 'Weights dropped by layer', tabindex: 0 }, densityBars(training.density))),
  ];
}

const figureOf = (figures, kpi) => figures[{ probe: 'probe', knn: 'knn', 'few-shot': 'few_shot' }[kpi]];

function comparison(caption, figures, judgedBy, reach, random) {
  const rows = Object.entries(KPIS).filter(([kpi]) => figureOf(figures, kpi)).flatMap(([kpi, words]) => [
    row(kpi, [words, kpi === judgedBy && h('span', { class: 'tag' }, 'judged by')], figureOf(figures, kpi), words, reach),
    random && figureOf(random, kpi) && row(`${kpi} random`, h('span', { class: 'muted' }, 'a random mask, as dense'), figureOf(random, kpi), `${words}, random mask`, reach, true),
  ]);
  if (figures.defined) rows.unshift(definedRow(judgedBy, figures.defined));
  return [
    table(caption, ['Figure', '#Base', '#Mask', '#Difference', '95 % interval of the difference'], rows.filter(Boolean)),
    random && h('p', { class: 'hint' }, 'The random mask drops as many weights of each layer, but any: it shows what is owed to learning.'),
  ];
}

/** Recall of each class, balanced accuracy of each slice. */
function groupTable(groups, reach) {
  return groups.length > 0 && table('Recall of each class, balanced accuracy of each slice', ['Class or slice', '#Base', '#Mask', '#Difference', '95 % interval of the difference'],
    groups.map((group) => row(`${group.kind} ${group.name}`, [group.kind === 'class' ? 'Class ' : 'Slice ', h('code', null, group.name), h('span', { class: 'muted small block' }, counted(group.images, 'image'))], group.figure, `${group.kind} ${group.name}`, reach)));
}

/** What was taken for what: images with the base, then with the mask. */
function confusionTable(confusion) {
  return confusion && h('details', null, h('summary', null, 'What was taken for what'), h('div', { class: 'scroll', role: 'region', 'aria-label': 'What was taken for what', tabindex: 0 },
    table('Images of a class (rows) by the answer of base → mask', ['Class', ...confusion.classes.map((name) => `#As ${name}`)], confusion.classes.map((truth, row) => h('tr', { key: truth }, h('th', { scope: 'row' }, truth),
      confusion.classes.map((answer, column) => h('td', { key: answer, class: 'number' }, `${confusion.base[row][column].toFixed(1)} → ${confusion.mask[row][column].toFixed(1)}`)))))));
}

/** The figure that the site defines, in its own unit. */
function definedRow(kpi, { base, mask, difference }) {
  return h('tr', { key: 'defined' }, h('th', { scope: 'row' }, kpiName(kpi), h('span', { class: 'tag' }, 'judged by')),
    h('td', { class: 'number' }, kpiValue(kpi, base.value)), h('td', { class: 'number' }, kpiValue(kpi, mask.value)),
    h('td', { class: 'number' }, h('strong', null, kpiGain(kpi, difference.value))), h('td', null, `${kpiGain(kpi, difference.lower)} to ${kpiGain(kpi, difference.upper)}`));
}

function row(key, title, figure, label, reach, isControl = false) {
  const { base, mask, difference } = figure;
  return h('tr', { key, class: isControl ? 'is-control' : null },
    h('th', { scope: 'row' }, title),
    h('td', { class: 'number', title: interval(base) }, percent(base.value)),
    h('td', { class: 'number', title: interval(mask) }, percent(mask.value)),
    h('td', { class: 'number' }, h('strong', null, points(difference.value)), h('span', { class: 'muted small block' }, `${points(difference.lower)} to ${points(difference.upper)}`)),
    h('td', null, differenceBar(difference, `${label}: ${points(difference.value)} points`, reach)));
}

const interval = ({ lower, upper }) => `95 % interval: ${percent(lower)} to ${percent(upper)}`;

function signalTable({ base, mask, retrieval, stability, clusters, patches }) {
  const or = (value, digits = 3) => (typeof value === 'number' ? value.toFixed(digits) : '–');
  const rows = [
    ['Effective rank', 'dimensions in use; more is better', base.effective_rank.toFixed(1), mask.effective_rank.toFixed(1)],
    ['Decay of the eigenvalues', 'best near 1', or(base.decay), or(mask.decay)],
    ['Effective rank of patches', 'ways that patches of a picture differ by; more is better', or(patches?.base, 1), or(patches?.mask, 1)],
    ['Cluster stability', 'whether two halves of the pictures are sorted alike; 1 = alike', or(clusters?.base), or(clusters?.mask)],
    ['Mean pairwise cosine', '1 = all pictures look alike', base.mean_cosine.toFixed(3), mask.mean_cosine.toFixed(3)],
    ['Spread', 'about 1 = even, 0 = collapsed', base.spread.toFixed(3), mask.spread.toFixed(3)],
    ['Instance retrieval', 'pictures that find themselves in another view', percent(retrieval.base.value), percent(retrieval.mask.value)],
    ['Neighbourhood stability', 'nearest neighbours that stay', '–', percent(stability)],
  ];
  return table('Signals without labels', ['Signal', '#Base', '#Mask'], rows.map(([name, hint, ofBase, ofMask]) => h('tr', { key: name },
    h('th', { scope: 'row' }, name, h('span', { class: 'muted small block' }, hint)), h('td', { class: 'number' }, ofBase), h('td', { class: 'number' }, ofMask))));
}
