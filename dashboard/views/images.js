// A site's images: a page of small pictures, filtered by what the factory said of them.

import { h } from '../dom.js';
import { bytes, count, counted, moment, short } from '../format.js';
import { emptyNotice, field, siteHead, time } from '../parts.js';
import { may } from '../permission.js';
import { link } from '../router.js';

const PER_PAGE = 48;

/**
 * @param {import('../main.js').Context} context
 * @param {{ site: string }} params
 * @param {URLSearchParams} query the filter, exactly as the API takes it
 */
export function imagesPage({ api, me, path, update, announce }, { site: name }, query) {
  let site, images, next, chosen = null;
  const address = (changes) => {
    const changed = new URLSearchParams(query);
    changed.delete('cursor');
    for (const [key, value] of Object.entries(changes)) value ? changed.set(key, value) : changed.delete(key);
    return `${link('sites', name, 'images')}${changed.size ? `?${changed}` : ''}`;
  };

  async function remove(image) {
    await api.send('DELETE', path`sites/${name}/images/${image.digest}`);
    announce(`${image.name} was deleted.`);
    chosen = null;
    images = images.filter((other) => other !== image);
    update();
  }

  return {
    title: `Images of ${name}`,
    async load() {
      let page;
      [site, page] = await Promise.all([api.get(path`sites/${name}`), api.get(path`sites/${name}/images`, { limit: PER_PAGE, ...Object.fromEntries(query) })]);
      images = page.items;
      next = page.next;
    },
    on: (event) => event.site === name && event.kind === 'images-received' && !query.has('cursor'),
    render: () => [
      siteHead(site, 'images', me),
      site.images === 0
        ? emptyNotice('No images yet', 'Send a folder, a tar or single files. They need no labels; what is sent twice is kept once.', `katagami images submit ${name} FOLDER`)
        : [
          filters(query, images, address),
          images.length === 0
            ? emptyNotice('No image matches', 'Take a condition of the filter away.')
            : h('ul', { class: 'pictures' }, images.map((image) => card(name, image, path, () => { chosen = image; update(); }))),
          h('nav', { class: 'pager', 'aria-label': 'Pages of images' },
            h('span', { class: 'muted' }, `${counted(images.length, 'image')} on this page, ${count(site.images)} in all`),
            query.has('cursor') && h('a', { class: 'button', href: address({}) }, 'First page'),
            next && h('a', { class: 'button', href: address({ cursor: next }) }, 'Next page')),
        ],
      chosen && details(name, chosen, path, may(me, 'submit') && !chosen.deleted_at ? remove : null, address, () => { chosen = null; update(); }),
    ],
  };
}

function card(site, image, path, choose) {
  return h('li', { key: image.digest }, h('button', { type: 'button', class: 'picture', onclick: choose, title: image.name },
    image.deleted_at
      ? h('span', { class: 'no-picture' }, 'deleted')
      : h('katagami-picture', { path: path`sites/${site}/images/${image.digest}/bytes`, alt: '' }),
    h('span', { class: 'picture-name' }, image.name)));
}

function filters(query, images, address) {
  const conditions = [...query].filter(([key]) => key !== 'cursor');
  const pairs = new Set(images.flatMap((image) => Object.entries(image.metadata).map(([key, value]) => `${key}=${value}`)));
  return h('form', {
    class: 'filters',
    onsubmit: (event) => {
      event.preventDefault();
      const { metadata, from, until } = Object.fromEntries(new FormData(event.currentTarget));
      const changes = {};
      const at = metadata.indexOf('=');
      if (at > 0) changes[`metadata.${metadata.slice(0, at).trim()}`] = metadata.slice(at + 1).trim();
      if (from) changes.captured_from = new Date(from).toISOString();
      if (until) changes.captured_until = new Date(until).toISOString();
      location.hash = address(changes);
    },
  },
  field('Metadata', h('input', { name: 'metadata', placeholder: 'line=a', list: 'metadata-seen', pattern: '[^=]+=.+', title: 'a name, =, a value: line=a' })),
  h('datalist', { id: 'metadata-seen' }, [...pairs].sort().map((pair) => h('option', { key: pair, value: pair }))),
  field('Captured from', h('input', { name: 'from', type: 'datetime-local' })),
  field('until', h('input', { name: 'until', type: 'datetime-local' })),
  h('button', { type: 'submit' }, 'Filter'),
  conditions.length > 0 && h('ul', { class: 'chips', 'aria-label': 'Filter in force' }, conditions.map(([key, value]) => h('li', { key },
    h('a', { href: address({ [key]: '' }), class: 'chip', 'aria-label': `Remove the condition ${key} ${value}` }, `${words(key)} ${value.endsWith('Z') && key.includes('_') ? moment(value) : value}`, h('span', { 'aria-hidden': 'true' }, ' ×'))))));
}

const words = (key) => ({ captured_from: 'captured from', captured_until: 'captured until', deleted: 'deleted' }[key] ?? `${key.replace('metadata.', '')} =`);

function details(site, image, path, remove, address, close) {
  return h('dialog', {
    key: `details ${image.digest}`, class: 'details', 'aria-labelledby': 'details-title', onclose: close,
    ref: (dialog) => queueMicrotask(() => dialog.showModal()),
  },
  h('h2', { id: 'details-title' }, image.name),
  !image.deleted_at && h('katagami-picture', { class: 'large', eager: true, path: path`sites/${site}/images/${image.digest}/bytes`, alt: image.name }),
  h('dl', { class: 'facts' }, [
    ['Size', `${image.width} × ${image.height}, ${bytes(image.bytes)}, ${image.media_type.replace('image/', '')}`],
    ['Captured', image.captured_at ? time(image.captured_at) : 'not said'],
    ['Received', time(image.received_at)],
    ['Digest', h('code', { title: image.digest }, short(image.digest))],
    ...Object.entries(image.metadata).map(([key, value]) => [key, h('a', { href: address({ [`metadata.${key}`]: value }) }, value)]),
  ].map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value)))),
  h('div', { class: 'buttons' },
    // By the dialog's own way out, which gives the focus back to the picture.
    h('button', { type: 'button', onclick: (event) => event.currentTarget.closest('dialog').close(), autofocus: true }, 'Close'),
    remove && h('button', {
      type: 'button', class: 'danger',
      onclick: () => { if (confirm(`Delete ${image.name}? Its bytes are gone for good, and no training can use a snapshot that has it.`)) remove(image); },
    }, 'Delete')));
}
