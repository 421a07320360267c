// Figures as SVG: small, without a library, with the same facts as text for who cannot see them.
// Widths and heights are attributes: the content security policy allows no inline style.

import { h } from './dom.js';
import { count, percent, points } from './format.js';

/**
 * The loss by step.
 * @param {{ step: number, loss: number }[]} curve
 */
export function lossCurve(curve) {
  const shown = curve.filter((point) => Number.isFinite(point.loss));
  if (shown.length < 2) return h('p', { class: 'muted' }, 'The curve begins with the second step.');
  const [width, height, left, right, top, bottom] = [640, 220, 52, 12, 12, 28];
  const steps = shown.map((point) => point.step);
  const losses = shown.map((point) => point.loss);
  const [first, last] = [Math.min(...steps), Math.max(...steps)];
  const ticks = niceTicks(Math.min(...losses), Math.max(...losses), 4);
  const [low, high] = [ticks[0], ticks[ticks.length - 1]];
  const x = (step) => left + ((step - first) / Math.max(1, last - first)) * (width - left - right);
  const y = (loss) => top + ((high - loss) / (high - low)) * (height - top - bottom);
  const line = shown.map((point, index) => `${index ? 'L' : 'M'}${x(point.step).toFixed(1)} ${y(point.loss).toFixed(1)}`).join('');
  const end = shown[shown.length - 1];
  return h('figure', { class: 'chart' },
    h('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `Loss from ${losses[0].toFixed(3)} at step ${first} to ${end.loss.toFixed(3)} at step ${last}` },
      ticks.map((tick) => [
        h('line', { class: 'grid', x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
        h('text', { class: 'tick', x: left - 8, y: y(tick) + 4, 'text-anchor': 'end' }, tick.toFixed(decimals(ticks))),
      ]),
      stepTicks(first, last).map((step) => h('text', { class: 'tick', x: x(step), y: height - 8, 'text-anchor': 'middle' }, count(step))),
      h('path', { class: 'curve', d: line }),
      h('circle', { class: 'curve-end', cx: x(end.step), cy: y(end.loss), r: 3.5 })),
    h('figcaption', null, `Loss by step: ${losses[0].toFixed(3)} at step ${count(first)}, ${end.loss.toFixed(3)} at step ${count(last)}`));
}

/**
 * A paired difference with its interval, against zero.
 * @param {{ value: number, lower: number, upper: number }} difference shares, mask less base
 * @param {string} label
 * @param {number} [reach] the scale's end, so that several bars can be compared
 */
export function differenceBar(difference, label, reach = reachOf([difference])) {
  const [width, height, middle] = [320, 34, 14];
  const x = (share) => 10 + ((Math.max(-reach, Math.min(reach, share)) + reach) / (2 * reach)) * (width - 20);
  const { value, lower, upper } = difference;
  const tone = lower > 0 ? 'good' : upper < 0 ? 'bad' : 'open';
  return h('svg', { class: `interval is-${tone}`, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${label}, 95 % interval from ${points(lower)} to ${points(upper)} points` },
    h('line', { class: 'axis', x1: 10, x2: width - 10, y1: middle, y2: middle }),
    h('line', { class: 'zero', x1: x(0), x2: x(0), y1: 2, y2: middle + 8 }),
    h('line', { class: 'whisker', x1: x(lower), x2: x(upper), y1: middle, y2: middle }),
    h('line', { class: 'whisker-end', x1: x(lower), x2: x(lower), y1: middle - 5, y2: middle + 5 }),
    h('line', { class: 'whisker-end', x1: x(upper), x2: x(upper), y1: middle - 5, y2: middle + 5 }),
    h('circle', { class: 'value', cx: x(value), cy: middle, r: 4.5 }),
    [-reach, 0, reach].map((share, index) => h('text', {
      class: 'tick', x: x(share), y: height - 2, 'text-anchor': ['start', 'middle', 'end'][index],
    }, share === 0 ? 'base' : points(share).replace('.0', ''))));
}

/** The smallest round scale that holds all of these differences. */
export function reachOf(differences) {
  const most = Math.max(...differences.flatMap(({ lower, upper, value }) => [lower, upper, value].map(Math.abs)));
  return [0.01, 0.02, 0.05, 0.1, 0.2, 0.5].find((reach) => most <= reach) ?? 1;
}

/**
 * How much of each tensor is kept. Few weights fall, so the bar shows the share that is dropped,
 * on a scale that ends at the largest.
 * @param {{ tensor: string, weights: number, kept: number }[]} layers
 */
export function densityBars(layers) {
  const dropped = (layer) => (layer.weights ? (layer.weights - layer.kept) / layer.weights : 0);
  const most = Math.max(...layers.map(dropped), 1e-9);
  return h('table', { class: 'density' },
    h('caption', { class: 'visually-hidden' }, 'Weights dropped in each tensor'),
    h('thead', null, h('tr', null, h('th', { scope: 'col' }, 'Tensor'), h('th', { scope: 'col', class: 'number' }, 'Weights'), h('th', { scope: 'col', class: 'number' }, 'Dropped'), h('th', { scope: 'col', colspan: 2 }, 'Share'))),
    h('tbody', null, layers.map((layer) => h('tr', { key: layer.tensor },
      h('th', { scope: 'row' }, h('code', null, layer.tensor)),
      h('td', { class: 'number' }, count(layer.weights)),
      h('td', { class: 'number' }, count(layer.weights - layer.kept)),
      h('td', { class: 'number' }, permille(dropped(layer))),
      h('td', { class: 'density-bar' }, h('svg', { viewBox: '0 0 100 8', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
        h('rect', { class: 'track', width: 100, height: 8 }), h('rect', { class: 'fill', width: (100 * dropped(layer)) / most, height: 8 })))))));
}

const permille = (share) => (share === 0 ? '0' : share < 0.01 ? `${(share * 100).toFixed(3)} %` : percent(share));

/**
 * About `wanted` round numbers that span from `low` to `high`.
 * @returns {number[]}
 */
export function niceTicks(low, high, wanted) {
  const span = high - low || Math.abs(high) || 1;
  const raw = span / wanted;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw);
  const from = Math.floor(low / step);
  const until = Math.max(Math.ceil(high / step), from + 1);
  return Array.from({ length: until - from + 1 }, (_, index) => (from + index) * step);
}

function decimals(ticks) {
  const step = ticks[1] - ticks[0];
  return Math.max(0, Math.min(6, Math.ceil(-Math.log10(step) + 0.0001 + (String(step / 10 ** Math.floor(Math.log10(step))).startsWith('2.5') ? 1 : 0))));
}

function stepTicks(first, last) {
  if (last - first < 4) return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(first + share * (last - first)));
}
