// One site at a glance: what its devices run, whether that is better than the base, what to do next.

import { differenceBar } from '../charts.js';
import { h } from '../dom.js';
import { counted, kpiGain, kpiName, kpiValue, points, viewName } from '../format.js';
import { badge, facts, maskLink, siteHead, time } from '../parts.js';
import { may } from '../permission.js';
import { link } from '../router.js';
import { healthPanel } from './health.js';
import { jobRows } from './job.js';

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 */
export function overviewPage(context, { site: name }) {
  const { api, me, path } = context;
  const health = healthPanel(context, name);
  let site, masks, jobs, sets, devices;
  return {
    title: name,
    async load() {
      const of = (what) => path`sites/${name}/` + what;
      const page = (what) => api.get(of(what), { limit: 5 }).then((list) => list.items);
      [site, masks, jobs, sets, devices] = await Promise.all([
        api.get(path`sites/${name}`), api.all(of('masks')), page('jobs'), page('validation'), api.all(of('devices')),
      ]);
      // Not waited for; where it cannot be told, the page is as good as without it.
      health.load().catch(() => {});
    },
    on: (event) => event.site === name,
    render: () => {
      const stable = masks.find((mask) => mask.version === site.stable);
      const step = nextStep(site, me, { masks, jobs, sets });
      return [
        siteHead(site, '', me),
        step && h('section', { class: 'notice is-info', 'aria-label': 'What to do next' },
          h('p', null, h('strong', null, 'Next: '), step.text), step.link && h('a', { class: 'button', href: step.link }, step.label), step.command && h('pre', null, h('code', null, step.command))),
        h('div', { class: 'columns' },
          h('section', { class: 'card' }, h('h2', null, 'What the devices run'), runs(site, stable), behind(site, devices)),
          h('section', { class: 'card' }, h('h2', null, 'This site'), facts([
            ['Images', counted(site.images, 'image')],
            ['Validation set', sets.length ? `version ${Math.max(...sets.map((set) => set.version))}` : 'none: masks are judged by signals without labels'],
            ['Judged by', kpiName(site.kpi)],
            ['Sees', viewName(site.view)],
            ['Devices', counted(site.devices, 'device')],
            ['Made', time(site.created_at)],
          ]))),
        health.render(),
        h('section', null, h('h2', null, 'Latest jobs'), jobs.length ? jobRows(jobs) : h('p', { class: 'muted' }, 'None yet.')),
      ];
    },
  };
}

function runs(site, mask) {
  if (!mask) return h('p', null, 'Channel ', h('code', null, 'stable'), ' points at no mask: devices run the plain base.');
  return [
    h('p', { class: 'big' }, maskLink(site.name, mask.version), ' ', badge(mask.verdict)),
    h('p', { class: 'muted' }, 'published ', time(mask.created_at)),
    mask.kpi_difference && [
      h('p', null, kpiName(site.kpi), ': ', kpiValue(site.kpi, mask.kpi_base), ' with the plain base, ', h('strong', null, kpiValue(site.kpi, mask.kpi_mask)), ' with the mask.'),
      differenceBar({ value: mask.kpi_difference[0], lower: mask.kpi_difference[1], upper: mask.kpi_difference[2] }, `Better by ${kpiGain(site.kpi, mask.kpi_difference[0])}`),
    ],
  ];
}

function behind(site, devices) {
  const follow = devices.filter((device) => device.channel === 'stable');
  if (!follow.length) return null;
  const there = follow.filter((device) => device.status && (device.status.mask ?? null) === (site.stable ?? null));
  return h('p', { class: 'muted' }, `${there.length} of ${counted(follow.length, 'device')} on stable ${there.length === 1 ? 'has' : 'have'} reported it. `, h('a', { href: link('sites', site.name, 'devices') }, 'Devices'));
}

/** The one thing that brings this site on. */
export function nextStep(site, me, { masks, jobs, sets }) {
  const newest = masks.reduce((a, b) => (!a || b.version > a.version ? b : a), null);
  if (!site.images) {
    return may(me, 'submit') ? { text: 'send this site\'s images. They need no labels.', command: `katagami images submit ${site.name} FOLDER` } : null;
  }
  const open = jobs.find((job) => ['queued', 'running'].includes(job.state));
  if (open) return { text: `a job is ${open.state}.`, link: link('jobs', open.id), label: 'Watch it' };
  if (!sets.length && may(me, 'submit')) {
    return { text: 'give a few hundred labelled images, so that masks can be judged by what matters to you.', command: `katagami validation set ${site.name} FOLDER` };
  }
  if (!newest) return may(me, 'train') ? { text: 'train a first mask on the images.', link: link('sites', site.name, 'jobs'), label: 'Start a training' } : null;
  if (newest.version !== site.stable && newest.verdict === 'passed' && may(me, 'release')) {
    return { text: `mask ${newest.version} passed the gate and can be released.`, link: `${link('sites', site.name, 'channels')}?mask=${newest.version}`, label: `Release mask ${newest.version}` };
  }
  return null;
}
