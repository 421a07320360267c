// Devices: what they run, when they were last heard of, and enrolling another one.

import { h } from '../dom.js';
import { ago, maskName } from '../format.js';
import { action, emptyNotice, field, maskLink, shownOnce, siteHead, table, time } from '../parts.js';
import { may } from '../permission.js';

/** A device that was not heard of for this long is called silent: agents ask every few minutes. */
const SILENT_AFTER = 15 * 60_000;

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 */
export function devicesPage(context, { site: name }) {
  const { api, me, path, update } = context;
  let site, devices, channels;
  /** The device that was just enrolled; its token is in no other place and goes with the page. */
  let enrolled = null;
  const enrol = action(context, async ({ device, channel }, form) => {
    enrolled = await api.post(path`sites/${name}/devices`, { name: device.trim(), channel: channel || undefined });
    form.reset();
    devices = await api.all(path`sites/${name}/devices`);
  });
  return {
    title: `Devices of ${name}`,
    async load() {
      [site, devices, channels] = await Promise.all([api.get(path`sites/${name}`), api.all(path`sites/${name}/devices`), api.all(path`sites/${name}/channels`)]);
    },
    on: (event) => event.site === name && ['device-reported', 'channel-moved'].includes(event.kind),
    leave: () => { enrolled = null; },
    render: () => [
      siteHead(site, 'devices', me),
      enrolled && tokenOnce(enrolled, () => { enrolled = null; update(); }),
      devices.length ? list(name, devices, channels) : emptyNotice('No device yet', 'Enrol a device and give it its token: it pulls the base once, then only masks.', `katagami device token ${name} line-a-camera-3`),
      may(me, 'devices') && h('details', { class: 'card', open: devices.length === 0 }, h('summary', null, 'Enrol a device'),
        enrol.notice(),
        h('form', { onsubmit: (event) => enrol.onsubmit(event) },
          h('div', { class: 'fields' },
            field('Name', h('input', { name: 'device', required: true, maxlength: 200, placeholder: 'line-a-camera-3', autocomplete: 'off' })),
            field('Follows', h('select', { name: 'channel' }, [...new Set(['stable', ...channels.map((channel) => channel.name)])].map((channel) => h('option', { value: channel }, channel))))),
          h('button', { type: 'submit', class: 'primary', disabled: enrol.busy }, 'Enrol'))),
    ],
  };
}

function tokenOnce({ device, token }, close) {
  return shownOnce({ key: `token ${device.id}`, 'data-enrolled': device.name }, `${device.name} is enrolled. `, token, [
    h('p', null, 'On the device:'),
    h('pre', null, h('code', null, `katagami edge pull --server ${location.origin} --token ${token} --dir /var/lib/katagami`)),
  ], close);
}

/**
 * What there is to say of a device's contact: [tone, word].
 * @param {{ last_seen_at: string|null }} device
 */
export function contact({ last_seen_at: seen }, now = Date.now()) {
  if (!seen) return ['idle', 'never heard of'];
  return now - Date.parse(seen) > SILENT_AFTER ? ['warn', 'silent'] : ['good', 'in touch'];
}

function list(site, devices, channels) {
  const target = (device) => channels.find((channel) => channel.name === device.channel)?.mask ?? null;
  return table('Devices', ['Device', 'Contact', 'Last contact', 'Runs', 'Follows', 'Agent'], devices.map((device) => {
    const [tone, word] = contact(device);
    const runs = device.status ? device.status.mask ?? null : undefined;
    return h('tr', { key: device.id },
      h('th', { scope: 'row' }, device.name),
      h('td', null, h('span', { class: `badge is-${tone}` }, word)),
      h('td', null, device.last_seen_at ? time(device.last_seen_at) : h('span', { class: 'muted' }, `enrolled ${ago(device.created_at)}`)),
      h('td', null, runs === undefined ? h('span', { class: 'muted' }, 'not reported') : maskLink(site, runs),
        runs !== undefined && runs !== target(device) && h('span', { class: 'muted small block' }, `to come: ${maskName(target(device))}`),
        device.status?.error && h('span', { class: 'small block error-text' }, device.status.error)),
      h('td', null, device.channel),
      h('td', null, device.status?.agent ?? '–'));
  }));
}
