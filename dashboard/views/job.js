// Trainings: a site's jobs, the form that starts one, and one job as it goes on.

import { lossCurve } from '../charts.js';
import { h } from '../dom.js';
import { KPIS, count, counted, duration, kpiName, short, viewName } from '../format.js';
import { action, badge, emptyNotice, facts, field, maskLink, problemNotice, siteHead, table, time } from '../parts.js';
import { may } from '../permission.js';
import { link } from '../router.js';
import { reportSections } from './mask.js';

const PHASES = [['fetch', 'Fetch base and images'], ['train', 'Train'], ['judge', 'Compare with the base'], ['publish', 'Publish']];
const isOpen = (job) => job.state === 'queued' || job.state === 'running';

/** The jobs of a site, newest first. */
export function jobRows(jobs) {
  return table('Jobs', ['Job', 'State', 'How far', 'Result', 'Asked for'], jobs.map((job) => h('tr', { key: job.id },
    h('th', { scope: 'row' }, h('a', { href: link('jobs', job.id) }, h('code', null, shortId(job.id)))),
    h('td', null, badge(job.state)),
    h('td', null, job.state === 'running' && job.progress ? bar(job.progress) : job.attempt > 1 ? `attempt ${job.attempt}` : '–'),
    h('td', null, outcome(job)),
    h('td', null, time(job.created_at), h('span', { class: 'muted small block' }, job.created_by)))));
}

// The last digits: those in front of a time-ordered identifier are the same all day.
const shortId = (id) => id.slice(-8);

function outcome(job) {
  switch (job.outcome?.kind) {
    case 'mask': return [maskLink(job.site, job.outcome.version), ' ', badge(job.outcome.verdict)];
    case 'no-improvement': return 'no improvement found';
    case 'failed': return h('span', { class: 'clip', title: job.outcome.error }, job.outcome.error);
    case 'cancelled': return 'cancelled';
    default: return job.cancel_requested ? 'being cancelled' : '–';
  }
}

function bar({ phase, step, steps }) {
  const known = steps > 0;
  return h('span', { class: 'progress' },
    h('progress', { max: known ? steps : null, value: known ? step : null, 'aria-label': `${phase}: ${known ? `${step} of ${steps}` : 'running'}` }),
    h('span', { class: 'small' }, known ? `${phase} ${count(step)} / ${count(steps)}` : phase));
}

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 * @param {URLSearchParams} query
 */
export function jobsPage(context, { site: name }, query) {
  const { api, me, path } = context;
  let site, jobs, next, masks, workers;
  const start = action(context, async (fields) => {
    const wanted = {
      recipe: fields.recipe.trim() || undefined,
      budget: fields.budget ? Number(fields.budget) : undefined,
      kpi: fields.kpi || undefined,
      start: fields.start === 'base' ? 'base' : fields.start ? { mask: Number(fields.start) } : undefined,
      seed: fields.seed ? Number(fields.seed) : undefined,
    };
    const job = await api.post(path`sites/${name}/jobs`, wanted);
    location.hash = link('jobs', job.id);
  });
  return {
    title: `Jobs of ${name}`,
    async load() {
      let page;
      [site, page, masks, workers] = await Promise.all([
        api.get(path`sites/${name}`),
        api.get(path`sites/${name}/jobs`, { limit: 50, ...Object.fromEntries(query) }),
        api.all(path`sites/${name}/masks`),
        may(me, 'operate') ? api.all('workers') : null,
      ]);
      jobs = page.items;
      next = page.next;
    },
    on(event) {
      if (event.site !== name) return false;
      const job = event.kind === 'job-changed' && jobs?.find((job) => job.id === event.job);
      if (job && job.state === event.state && isOpen(job)) {
        job.progress = event.progress ?? job.progress;
        context.update();
        return false;
      }
      return ['job-changed', 'mask-published', 'images-received'].includes(event.kind);
    },
    render: () => [
      siteHead(site, 'jobs', me),
      may(me, 'train') && startForm(site, masks, start),
      workers?.length === 0 && jobs.some((job) => job.state === 'queued') && h('div', { class: 'notice is-warn' },
        'Jobs wait, but no worker has asked for work lately. Start one: ', h('code', null, `katagami worker --server ${location.origin}`)),
      h('h2', null, 'Jobs'),
      jobs.length ? jobRows(jobs) : emptyNotice('No job yet', site.images ? 'A training learns from this site\'s images which weights to keep.' : 'Send images first; a training learns from them.',
        site.images ? `katagami job start ${name}` : `katagami images submit ${name} FOLDER`),
      h('nav', { class: 'pager', 'aria-label': 'Pages of jobs' }, next && h('a', { class: 'button', href: `${link('sites', name, 'jobs')}?cursor=${encodeURIComponent(next)}` }, 'Older jobs')),
    ],
  };
}

function startForm(site, masks, start) {
  return h('details', { class: 'card start' },
    h('summary', null, 'Start a training'),
    start.notice(),
    h('form', { onsubmit: (event) => start.onsubmit(event) },
      h('p', { class: 'muted' }, `Trains on a new snapshot of all ${counted(site.images, 'image')}. Everything may be left as it is.`),
      h('div', { class: 'fields' },
        field('Recipe', h('input', { name: 'recipe', placeholder: 'factory', autocomplete: 'off' })),
        field('Budget', h('input', { name: 'budget', type: 'number', min: 1, step: 1, placeholder: 'the recipe\'s' }), 'steps of training'),
        field('Judged by', h('select', { name: 'kpi' }, h('option', { value: '' }, `the site's: ${kpiName(site.kpi)}`),
          Object.entries(KPIS).map(([kpi, words]) => h('option', { value: kpi }, words)))),
        field('Starts from', h('select', { name: 'start' }, h('option', { value: '' }, 'the stable mask, else the base'), h('option', { value: 'base' }, 'the plain base'),
          masks.map((mask) => h('option', { value: mask.version }, `mask ${mask.version}`)))),
        field('Seed', h('input', { name: 'seed', type: 'number', min: 0, step: 1, placeholder: '0' }))),
      h('button', { type: 'submit', class: 'primary', disabled: start.busy || !site.images }, 'Start training'),
      !site.images && h('span', { class: 'hint' }, ' Send images first.')));
}

/**
 * @param {import('../main.js').Context} context
 * @param {{ id: string }} params
 */
export function jobPage(context, { id }) {
  const { api, me, path, update } = context;
  let job, logs, report = null;
  /** When which step was seen in this phase: what the remaining time is reckoned from. */
  let seen = [];
  const cancel = action(context, async () => {
    job = await api.post(path`jobs/${id}/cancel`);
  });

  function note(progress) {
    if (!progress) return;
    if (seen.length && (seen[0].phase !== progress.phase || seen[seen.length - 1].step > progress.step)) seen = [];
    if (seen[seen.length - 1]?.step !== progress.step) seen.push({ at: Date.now(), ...progress });
    if (seen.length > 60) seen.splice(1, 1);
  }

  return {
    title: `Job ${shortId(id)}`,
    async load() {
      [job, logs] = await Promise.all([api.get(path`jobs/${id}`), api.get(path`jobs/${id}/logs`)]);
      if (job.outcome?.kind === 'no-improvement' && !report) report = await api.find(path`jobs/${id}/report`);
      note(job.progress);
    },
    on(event) {
      if (event.kind !== 'job-changed' || event.job !== id || !job) return false;
      if (event.state === job.state && event.progress) {
        job.progress = event.progress;
        note(event.progress);
        const { phase, step, loss } = event.progress;
        const last = logs.loss[logs.loss.length - 1];
        if (phase === 'train' && loss !== null && loss !== undefined && step > (last?.step ?? 0)) logs.loss.push({ step, loss });
        update();
      }
      // Its log has grown, too.
      return true;
    },
    render: () => [
      h('nav', { class: 'crumbs', 'aria-label': 'Where you are' }, h('a', { href: link('sites', job.site) }, job.site), ' / ', h('a', { href: link('sites', job.site, 'jobs') }, 'Jobs')),
      h('div', { class: 'title' }, h('h1', null, 'Job ', h('code', null, shortId(id))), badge(job.state),
        isOpen(job) && may(me, 'train') && h('button', { type: 'button', class: 'danger', disabled: cancel.busy || job.cancel_requested, onclick: () => cancel.run() },
          job.cancel_requested ? 'Being cancelled …' : 'Cancel')),
      cancel.notice(),
      result(job),
      isOpen(job) && progressCard(job, seen),
      h('section', { class: 'card' }, h('h2', null, 'Loss'), logs.loss.length ? lossCurve(logs.loss) : h('p', { class: 'muted' }, 'No step has been trained yet.')),
      report && reportSections(report, null),
      h('section', { class: 'card' }, h('h2', null, 'What was asked for'), facts([
        ['Snapshot', h('code', { title: job.snapshot }, shortId(job.snapshot))],
        ['Base', h('code', { title: job.base }, short(job.base))],
        ['Recipe', job.budget ? `${job.recipe}, ${counted(job.budget, 'step')}` : job.recipe],
        ['Sees', viewName(job.view)],
        ['Starts from', job.start === 'base' ? 'the plain base' : maskLink(job.site, job.start.mask)],
        ['Judged by', `${kpiName(job.kpi)}, ${job.validation ? `validation set ${job.validation}` : 'without labels'}`],
        ['Asked for', [time(job.created_at), ` by ${job.created_by}`]],
        job.started_at && ['Began', time(job.started_at)],
        job.ended_at && ['Ended', [time(job.ended_at), job.started_at && `, after ${duration((Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000)}`]],
      ])),
      h('section', null, h('h2', null, 'Attempts'), logs.attempts.length ? attempts(logs.attempts) : h('p', { class: 'muted' }, 'No worker has taken it yet.')),
      h('section', null, h('h2', null, 'Log'), log(logs.lines)),
    ],
  };
}

function result(job) {
  switch (job.outcome?.kind) {
    case 'mask': return h('div', { class: 'notice is-good', 'data-outcome': 'mask' }, h('p', null, 'It made ', maskLink(job.site, job.outcome.version), ', which the gate ', { passed: 'lets pass', held: 'holds', refused: 'refuses' }[job.outcome.verdict] ?? job.outcome.verdict, '. ',
      h('a', { href: link('sites', job.site, 'masks', job.outcome.version) }, 'Read its report')));
    case 'no-improvement': return h('div', { class: 'notice is-info', 'data-outcome': 'no-improvement' }, 'No improvement found: nothing that was tried is better than the plain base, so there is no mask. The report below says what was measured.');
    case 'failed': return problemNotice(new Error(job.outcome.error));
    default: return null;
  }
}

/**
 * Seconds that the phase still takes, from what was seen of it; null while that cannot be said.
 * @param {{ at: number, step: number, steps: number }[]} seen
 */
export function remaining(seen) {
  const [first, last] = [seen[0], seen[seen.length - 1]];
  if (!first || !last.steps || last.step <= first.step) return null;
  return ((last.at - first.at) / 1000 / (last.step - first.step)) * (last.steps - last.step);
}

function progressCard(job, seen) {
  const { progress } = job;
  if (job.state === 'queued') {
    return h('section', { class: 'card', 'aria-label': 'Progress' }, h('p', null, job.attempt ? `Attempt ${job.attempt} of ${job.max_attempts} gave up; it waits for the next one.` : 'It waits for a worker.'));
  }
  const at = PHASES.findIndex(([phase]) => phase === progress?.phase);
  const left = remaining(seen);
  return h('section', { class: 'card', 'aria-label': 'Progress' },
    h('ol', { class: 'phases' }, PHASES.map(([phase, words], index) => h('li', { 'aria-current': index === at ? 'step' : null, class: index < at ? 'is-past' : null }, words))),
    progress && h('progress', { class: 'wide', max: progress.steps || null, value: progress.steps ? progress.step : null, 'aria-label': 'Progress of this phase' }),
    progress && h('p', null, progress.steps ? `${count(progress.step)} of ${count(progress.steps)}` : 'under way', left === null ? null : `, about ${duration(left)} left in this phase`),
    facts([
      job.worker && ['Worker', job.worker],
      ['Attempt', `${job.attempt} of at most ${job.max_attempts}`],
      typeof progress?.loss === 'number' && ['Loss', progress.loss.toFixed(4)],
      typeof progress?.dropped === 'number' && ['Weights dropped', count(progress.dropped)],
    ]));
}

function attempts(list) {
  return table('Attempts', ['#No.', 'Worker', 'On', 'Began', 'Took', 'Last checkpoint', 'End'], list.map((attempt) => h('tr', { key: attempt.number },
    h('td', { class: 'number' }, attempt.number),
    h('td', null, attempt.worker), h('td', null, attempt.device), h('td', null, time(attempt.started_at)),
    h('td', null, attempt.ended_at ? duration((Date.parse(attempt.ended_at) - Date.parse(attempt.started_at)) / 1000) : '–'),
    h('td', null, attempt.checkpoint_step === null ? '–' : `step ${count(attempt.checkpoint_step)}`),
    h('td', null, attempt.end ?? 'running'))));
}

function log(lines) {
  if (!lines.length) return h('p', { class: 'muted' }, 'Nothing yet.');
  const shown = lines.slice(-300);
  return h('div', { class: 'log', role: 'log', tabindex: 0, 'aria-label': 'Log' },
    lines.length > shown.length && h('p', { class: 'muted' }, `${count(lines.length - shown.length)} older lines: katagami job logs`),
    shown.map((line) => h('div', { class: 'log-line' }, h('time', { datetime: line.at }, new Date(line.at).toLocaleTimeString()), ' ', h('span', { class: 'muted' }, `#${line.attempt}`), ' ', line.line)));
}
