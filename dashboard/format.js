// Numbers, times and states as people read them.

const whole = new Intl.NumberFormat('en');

/** 12,345 */
export const count = (number) => whole.format(number);

/** `1 image`, `12 images` */
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

/** .712 as `71.2 %` */
export const percent = (share) => `${(share * 100).toFixed(1)} %`;

/** A difference of shares in percentage points: .034 as `+3.4`. */
export const points = (share) => {
  const text = Math.abs(share * 100).toFixed(1);
  return `${text === '0.0' ? '±' : share < 0 ? '−' : '+'}${text}`;
};

/** A text as a sentence. */
export const sentence = (text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;

/** Bytes with a unit of at most three digits. */
export function bytes(number) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = number;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]}`;
}

/** Seconds as `45 s`, `3 min 20 s`, `2 h 5 min`, `3 days`. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 && s < 600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.round(s / 60)} min`;
  if (s < 86_400) return s % 3600 >= 60 ? `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min` : `${Math.floor(s / 3600)} h`;
  const days = Math.floor(s / 86_400);
  return `${days} day${days === 1 ? '' : 's'}`;
}

/** How long ago `time` was. */
export function ago(time, now = Date.now()) {
  const seconds = (now - Date.parse(time)) / 1000;
  // Nobody needs the seconds of five minutes ago, and they would be old at once.
  return seconds < 10 ? 'just now' : `${duration(seconds < 60 ? seconds : Math.floor(seconds / 60) * 60)} ago`;
}

/** A time in the reader's own time zone. */
export const moment = (time) => new Date(time).toLocaleString(undefined, { dateStyle: 'medium', timeStyle: 'short' });

/** The first digits of a digest. */
export const short = (digest) => digest.replace(/^sha256:/, '').slice(0, 12);

/** `mask 3`, or what runs without one. */
export const maskName = (version) => (version === null || version === undefined ? 'the plain base' : `mask ${version}`);

/** The figures that are the same everywhere, by their names for people. */
export const KPIS = { probe: 'Linear probe', knn: 'Nearest neighbours', 'few-shot': 'Few labelled images' };

/** A KPI (`src/domain/kpi.rs`) for people: one of the above, or a figure that the site defines. */
export function kpiName(kpi) {
  if (typeof kpi === 'string') return KPIS[kpi] ?? kpi;
  if (kpi.name === 'recall-at-false-alarm') return `Defects found at ${+(kpi.rate * 100).toFixed(2)} % false alarms`;
  return kpi.name === 'cost' ? 'Cost of an image' : kpi.name;
}

/** Whether a KPI is a cost: a number of the site's own unit, of which less is better. */
export const isCost = (kpi) => kpi.name === 'cost';

/** A value of the KPI: a share, or a cost. */
export const kpiValue = (kpi, value) => (isCost(kpi) ? value.toFixed(3) : percent(value));

/** How much better, in points, or in the unit of costs; above zero is better. */
export const kpiGain = (kpi, gain) => (isCost(kpi) ? `${gain < 0 ? '−' : '+'}${Math.abs(gain).toFixed(3)}` : points(gain));

/** A view (`src/domain/view.rs`) for people. */
export function viewName({ region, tiles, size, 'bit-depth': depth }) {
  const part = (share) => `${+(share * 100).toFixed(2)} %`;
  const { left, top, width, height } = region;
  return [
    width === 1 && height === 1 ? 'Whole picture' : `Region of ${part(width)} × ${part(height)}, ${part(left)} from the left, ${part(top)} from the top`,
    tiles.columns * tiles.rows > 1 && `${tiles.columns} × ${tiles.rows} tiles overlapping by ${part(tiles.overlap)}`,
    size && `${size} pixels`,
    depth && DEPTHS[depth],
  ].filter(Boolean).join(', ');
}

/** How more than 8 bits a colour become 8, where the base's way is not the right one. */
export const DEPTHS = { 'used-bits': 'scaled by the bits used', 'full-range': 'scaled by all 16 bits' };

/** Whether two views are the same; the server writes all in the same way. */
export const sameView = (one, other) => JSON.stringify(one) === JSON.stringify(other);
