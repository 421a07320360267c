// <katagami-picture path="sites/…/bytes" alt="…">: a picture that only a token may see.
//
// An <img> cannot send a token, so the bytes are fetched and shown as an object URL, which lives
// exactly as long as the element stands in the page. Only what comes into sight is fetched, a few
// at a time: a page of pictures must not take all of the browser's connections from the events.

import { Problem } from './api.js';

const AT_ONCE = 4;

/** @type {import('./api.js').Api|null} */
let api = null;
let running = 0;
/** @type {Picture[]} */
const waiting = [];

/** Says with whose token pictures are fetched from now on. */
export function showPicturesWith(next) {
  api = next;
}

function next() {
  while (running < AT_ONCE && waiting.length) {
    const picture = waiting.shift();
    running += 1;
    picture.fetch().finally(() => {
      running -= 1;
      next();
    });
  }
}

const sight = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    sight.unobserve(target);
    // What somebody has asked for goes before what happens to be in sight.
    if (target.hasAttribute('eager')) waiting.unshift(target);
    else waiting.push(target);
  }
  next();
}, { rootMargin: '200px' });

class Picture extends HTMLElement {
  static observedAttributes = ['path'];

  connectedCallback() {
    this.begin();
  }

  disconnectedCallback() {
    this.end();
  }

  attributeChangedCallback(_name, before, after) {
    if (before !== null && before !== after && this.isConnected) {
      this.end();
      this.begin();
    }
  }

  begin() {
    this.leave = new AbortController();
    sight.observe(this);
  }

  end() {
    sight.unobserve(this);
    const place = waiting.indexOf(this);
    if (place >= 0) waiting.splice(place, 1);
    this.leave.abort();
    if (this.address) URL.revokeObjectURL(this.address);
    this.address = null;
    this.replaceChildren();
  }

  async fetch() {
    const { signal } = this.leave;
    try {
      const response = await api.send('GET', this.getAttribute('path'), { signal });
      const blob = await response.blob();
      if (signal.aborted) return;
      this.address = URL.createObjectURL(blob);
      const image = new Image();
      image.alt = this.getAttribute('alt') ?? '';
      image.decoding = 'async';
      image.onerror = () => this.say(`${blob.type.replace('image/', '').toUpperCase()}: this browser cannot show it`);
      image.src = this.address;
      this.replaceChildren(image);
    } catch (error) {
      if (!signal.aborted) this.say(error instanceof Problem && error.status === 404 ? 'deleted' : 'could not be loaded');
    }
  }

  say(text) {
    const note = document.createElement('span');
    note.textContent = text;
    this.replaceChildren(note);
  }
}

customElements.define('katagami-picture', Picture);
