// Pictures as planes of numbers, { width, height, data }, with the resampling of Pillow and the filters of scipy.ndimage.

// One plane of Rec. 601 luma, rounded as Pillow does, or three of colours; 0 to 255.
export function planes({ width, height, data }, channels) {
  const luma = i => (19595 * data[i] + 38470 * data[i + 1] + 7471 * data[i + 2] + 32768) >> 16;
  return Array.from({ length: channels }, (_, c) => {
    const plane = new Float32Array(width * height);
    for (let i = 0; i < plane.length; i++) plane[i] = channels === 1 ? luma(4 * i) : data[4 * i + c];
    return { width, height, data: plane };
  });
}

// Planes of 0 to 255 -> bytes (H, W, C).
export function pixels(planes) {
  const bytes = new Uint8ClampedArray(planes[0].data.length * planes.length); // rounds and clips by itself
  planes.forEach(({ data }, c) => data.forEach((value, i) => { bytes[i * planes.length + c] = value; }));
  return new Uint8Array(bytes.buffer);
}

const cubic = x => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((2.5 - 0.5 * x) * x - 4) * x + 2 : 0);
const sinc = x => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);

// Pillow's: what a pixel at the distance x weighs, and how far they reach.
export const KERNELS = {
  box: { reach: 0.5, weigh: x => Number(x > -0.5 && x <= 0.5) },
  bilinear: { reach: 1, weigh: x => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { reach: 2, weigh: x => cubic(Math.abs(x)) },
  lanczos: { reach: 3, weigh: x => (Math.abs(x) < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

// The plane, or a box [left, top, width, height] of it, at another size; where that is smaller, every pixel counts.
export function resized(plane, width, height, kernel, [left, top, wide, high] = [0, 0, plane.width, plane.height]) {
  const across = taps(plane.width, left, wide, width, kernel), down = taps(plane.height, top, high, height, kernel);
  const weighed = taps => line => Float32Array.from(taps, ({ first, weights }) => dot(weights, line, first));
  return separately(plane, weighed(across), weighed(down));
}

function taps(length, start, span, count, { reach, weigh }) {
  const scale = span / count, wide = Math.max(1, scale);
  return Array.from({ length: count }, (_, place) => {
    const centre = start + (place + 0.5) * scale;
    const [before, after] = [-1, 1].map(way => Math.trunc(centre + way * reach * wide + 0.5));
    const first = Math.max(0, before), last = Math.min(length, after);
    return { first, weights: normal(Array.from({ length: last - first }, (_, i) => weigh((first + i + 0.5 - centre) / wide))) };
  });
}

// scipy.ndimage.gaussian_filter: four deviations far, mirrored at the border.
export function gaussian(plane, sigma) {
  const reach = Math.trunc(4 * sigma + 0.5);
  const weights = normal(Array.from({ length: 2 * reach + 1 }, (_, i) => Math.exp(-0.5 * ((i - reach) / sigma) ** 2)));
  return separately(plane, line => {
    const round = 2 * line.length, longer = new Float32Array(line.length + 2 * reach);
    for (let i = 0; i < longer.length; i++) {
      const at = (((i - reach) % round) + round) % round;
      longer[i] = line[Math.min(at, round - 1 - at)];
    }
    return line.map((_, i) => dot(weights, longer, i));
  });
}

// scipy.ndimage.grey_closing by a square of that size: the largest value around, and of these the smallest.
export function closed(plane, size) {
  const half = size >> 1, rest = size - 1 - half, negative = plane => mapped(plane, value => -value);
  const grown = separately(plane, line => largest(line, rest, half));
  return negative(separately(negative(grown), line => largest(line, half, rest)));
}

// The largest value from so many places before each to so many after it, by windows that double.
function largest(line, before, after) {
  const size = before + after + 1, found = new Float32Array(line.length + size - 1).fill(-Infinity);
  found.set(line, before);
  for (let wide = 1, step; wide < size; wide += step) {
    step = Math.min(wide, size - wide);
    for (let i = 0; i + step < found.length; i++) found[i] = Math.max(found[i], found[i + step]);
  }
  return found.subarray(0, line.length);
}

// What `across` makes of every row, and then `down` of every column of that; they may change the length.
export function separately(plane, across, down = across) {
  return [across, down].reduce(({ width, height, data }, change) => {
    const lines = Array.from({ length: height }, (_, y) => change(data.subarray(y * width, (y + 1) * width)));
    const turned = { width: height, height: lines[0].length, data: new Float32Array(height * lines[0].length) };
    lines.forEach((line, y) => line.forEach((value, x) => { turned.data[x * height + y] = value; }));
    return turned;
  }, plane);
}

function dot(weights, line, first) {
  let sum = 0;
  for (let i = 0; i < weights.length; i++) sum += weights[i] * line[first + i];
  return sum;
}

function normal(weights) {
  const sum = weights.reduce((a, b) => a + b, 0);
  return Float64Array.from(weights, weight => weight / sum);
}

// The part of a plane from the first to the last row and column that reach a value.
export function cropped(plane, least) {
  const bar = Math.min(least, most(plane.data));
  let [left, top, right, bottom] = [plane.width, plane.height, 0, 0];
  plane.data.forEach((value, i) => {
    if (value < bar) return;
    const x = i % plane.width, y = Math.floor(i / plane.width);
    [left, top, right, bottom] = [Math.min(left, x), Math.min(top, y), Math.max(right, x), Math.max(bottom, y)];
  });
  return cut(plane, left, top, right - left + 1, bottom - top + 1);
}

export function cut(plane, left, top, width, height) {
  const data = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    const from = (top + y) * plane.width + left;
    data.set(plane.data.subarray(from, from + width), y * width);
  }
  return { width, height, data };
}

// A plane on a larger black one.
export function laid(plane, left, top, width, height) {
  const data = new Float32Array(width * height);
  for (let y = 0; y < plane.height; y++) {
    data.set(plane.data.subarray(y * plane.width, (y + 1) * plane.width), (top + y) * width + left);
  }
  return { width, height, data };
}

export const mapped = (plane, change) => ({ ...plane, data: plane.data.map(change) });
export const joined = planes => planes.flatMap(plane => [...plane.data]);
export const clipped = value => Math.max(0, Math.min(1, value));
export const most = values => values.reduce((a, b) => Math.max(a, b));

export function percentile(values, share) {
  const sorted = Float32Array.from(values).sort(), place = (share / 100) * (sorted.length - 1), below = Math.floor(place);
  return sorted[below] + (place - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
}

// Sides in proportion, the longer one so many pixels.
export function fitted({ width, height }, longer) {
  return [width, height].map(side => Math.max(1, even(side * longer / Math.max(width, height))));
}

// To the nearest; halves to the even one, as Python rounds.
export function even(value) {
  const up = Math.round(value);
  return up - value === 0.5 && up % 2 ? up - 1 : up;
}
