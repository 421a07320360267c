// Elements as plain values, and the one function that brings the page into line with them.
//
// A view says what the page should look like (`h`), `render` changes only what differs: focus,
// half-typed input and scroll positions survive. Text is always set as text, so nothing that a
// factory sends can become markup; there is no HTML string anywhere in the dashboard.

/**
 * @typedef {{ tag: string, props: Record<string, any>, children: (Element_|string)[] }} Element_
 * @typedef {Element_|string|number|null|undefined|false|Child[]} Child
 */

const SVG = 'http://www.w3.org/2000/svg';

/** What was rendered into a DOM node last: its properties, with the listeners in force. */
const rendered = new WeakMap();

/**
 * An element. Properties that begin with `on` are listeners; `key` tells siblings apart that
 * move or come and go; `ref` is called once with the new DOM node; `false` and `null` leave an
 * attribute out.
 * @param {string} tag
 * @param {Record<string, any>|null} [props]
 * @param {...Child} children
 * @returns {Element_}
 */
export function h(tag, props, ...children) {
  return { tag, props: props ?? {}, children: flat(children) };
}

/**
 * Makes the children of `parent` look like `children`.
 * @param {Element} parent
 * @param {Child} children
 */
export function render(parent, children) {
  reconcile(parent, flat([children]));
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== '')
    .map((child) => (typeof child === 'object' ? child : String(child)));
}

const keyOf = (node) => rendered.get(node)?.key;

function reconcile(parent, children) {
  const keyed = new Map();
  for (const node of parent.childNodes) {
    if (keyOf(node) !== undefined) keyed.set(keyOf(node), node);
  }
  let cursor = parent.firstChild;
  for (const child of children) {
    const key = child.props?.key;
    const candidate = key === undefined ? cursor : keyed.get(key);
    if (candidate && isLike(candidate, child)) {
      if (candidate === cursor) cursor = cursor.nextSibling;
      else parent.insertBefore(candidate, cursor);
      update(candidate, child);
    } else {
      parent.insertBefore(create(child, parent), cursor);
    }
  }
  while (cursor) {
    const next = cursor.nextSibling;
    cursor.remove();
    cursor = next;
  }
}

function isLike(node, child) {
  if (typeof child === 'string') return node.nodeType === Node.TEXT_NODE;
  return node.localName === child.tag && keyOf(node) === child.props.key;
}

function create(child, parent) {
  if (typeof child === 'string') return document.createTextNode(child);
  const isSvg = child.tag === 'svg' || parent.namespaceURI === SVG;
  const node = isSvg ? document.createElementNS(SVG, child.tag) : document.createElement(child.tag);
  update(node, child);
  child.props.ref?.(node);
  return node;
}

function update(node, child) {
  if (typeof child === 'string') {
    if (node.data !== child) node.data = child;
    return;
  }
  // Children first: a <select> takes its value only once its options are there.
  // What is in a custom element is its own affair.
  if (!child.tag.includes('-')) reconcile(node, child.children);
  const before = rendered.get(node) ?? {};
  for (const name of Object.keys(before)) {
    if (!(name in child.props)) set(node, name, null, before[name]);
  }
  for (const [name, value] of Object.entries(child.props)) {
    if (before[name] !== value) set(node, name, value, before[name]);
  }
  rendered.set(node, child.props);
}

function set(node, name, value, before) {
  if (name === 'key' || name === 'ref') return;
  if (name.startsWith('on')) {
    const type = name.slice(2).toLowerCase();
    if (before) node.removeEventListener(type, before);
    if (value) node.addEventListener(type, value);
  } else if (name === 'checked' || (name === 'value' && /^(input|select|textarea)$/.test(node.localName))) {
    // The attribute of these is only what they began with.
    node[name] = value ?? '';
  } else if (value === false || value === null || value === undefined) {
    node.removeAttribute(name);
  } else {
    node.setAttribute(name, value === true ? '' : value);
  }
}
