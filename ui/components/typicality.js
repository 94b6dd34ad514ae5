// Whether a latent or an upload is like what a model has learnt: vae/measure/verdicts.py once more, from the same atlas.safetensors.

export const FINE = 0.07; // a typicality from which on the verdict is fine
const FIELDS = 4, COLOURS = 8, SEAMS = 3, FAR = 8, OTHERS = 5;

export class Judge {
  // found: {name: numbers} of an atlas that has one.
  constructor(found) {
    this.latents = critic(found, "latents");
    this.uploads = critic(found, "uploads");
    const all = found["judge.quantiles"], each = all.length / all.count;
    this.quantiles = Array.from({ length: all.count }, (_, row) => all.subarray(row * each, (row + 1) * each));
  }

  // z: in principal axes; density: the mixture's there. {typicality, against: the measure that says least}
  of(z, density) {
    return verdict({ density, critic: this.latents(z) }, this.quantiles.slice(0, 3));
  }

  ofUpload(inputs, error, density) {
    return verdict({ density, error: -error, critic: this.uploads(inputs) }, this.quantiles.slice(3));
  }
}

// A network: numbers -> the log odds of real against broken, but for a constant.
function critic(found, name) {
  const [center, scale, ...layers] = Array.from({ length: 8 }, (_, place) => found[`judge.${name}.${place}`]);
  return inputs => {
    let x = Float64Array.from(center, (middle, i) => Math.max(-FAR, Math.min(FAR, (inputs[i] - middle) / scale[i])));
    for (let place = 0; place < layers.length; place += 2) {
      const weight = layers[place], before = x, wide = before.length, isLast = place + 2 === layers.length;
      x = Float64Array.from(layers[place + 1], (sum, row) => {
        for (let i = 0; i < wide; i++) sum += weight[row * wide + i] * before[i];
        return isLast ? sum : sum / (1 + Math.exp(-sum));
      });
    }
    return x[0];
  };
}

function verdict(values, quantiles) {
  let least = Infinity, against;
  for (const [row, [name, value]] of Object.entries(values).entries()) {
    const share = shareBelow(value, quantiles[row]) * (name === "critic" ? 1 : OTHERS);
    if (share < least) [least, against] = [share, name];
  }
  return { typicality: shareBelow(least, quantiles.at(-1)), against };
}

// The share of what has these quantiles, from the least to the greatest and in equal shares, that is under the value.
export function shareBelow(value, quantiles) {
  const last = quantiles.length - 1;
  if (value < quantiles[0]) return 0;
  const above = quantiles.findIndex(each => each > value);
  if (above < 0) return 1;
  return (above - 1 + (value - quantiles[above - 1]) / (quantiles[above] - quantiles[above - 1])) / last;
}

// Two pictures {channels, data: bytes in rows of pixels}. The mean squared error, values in [0, 1].
export function squaredError({ data }, again) {
  return data.reduce((sum, value, i) => sum + (value - again.data[i]) ** 2, 0) / data.length / 255 ** 2;
}

// What a critic of uploads sees, as upload_inputs in Python. z: its posterior's mean.
export function uploadInputs({ size, channels, data }, again, z) {
  const area = size * size, squares = new Float64Array(area), grey = new Float64Array(area);
  const planes = Array.from({ length: channels }, (_, c) => Float64Array.from({ length: area }, (_, i) => data[channels * i + c] / 255));
  for (const [c, x] of planes.entries()) {
    for (let i = 0; i < area; i++) {
      grey[i] += x[i] / channels;
      squares[i] += (x[i] - again.data[channels * i + c] / 255) ** 2 / channels;
    }
  }
  const colours = [grey, ...planes.slice(1).map((x, c) => planes[c].map((value, i) => value - x[i]))];
  const across = [], down = [];
  for (let i = 0; i < area; i++) {
    if ((i + 1) % size) across.push((grey[i + 1] - grey[i]) ** 2);
    if (i + size < area) down.push((grey[i + size] - grey[i]) ** 2);
  }
  const means = [pooled(squares, size, size, FIELDS), pooled(across, size, size - 1, FIELDS), pooled(down, size - 1, size, FIELDS)];
  const logs = means.flat().map(value => Math.log(value + 1e-5));
  const turned = grey.map((_, i) => grey[(i % size) * size + Math.floor(i / size)]);
  return [...z, ...colours.flatMap(plane => pooled(plane, size, size, COLOURS)), ...logs, ...seams(grey, size), ...seams(turned, size)];
}

// How far the steps from row to row stand out, as _seams in Python.
function seams(grey, size) {
  const steps = Array.from({ length: size }, (_, row) => {
    const above = ((row || size) - 1) * size;
    let sum = 0;
    for (let x = 0; x < size; x++) sum += Math.abs(grey[row * size + x] - grey[above + x]);
    return Math.log(sum / size + 1e-3);
  });
  const peaks = steps.slice(2, -1).map((step, i) => step - (steps[i + 1] + steps[i + 3]) / 2);
  return [...peaks.sort((a, b) => b - a).slice(0, SEAMS), steps[0]];
}

// Rows by columns of values -> the means of `parts` by `parts` fields that cover them all, as PyTorch's adaptive pooling has them.
function pooled(values, rows, columns, parts) {
  const ends = length => Array.from({ length: parts }, (_, i) => [Math.floor((i * length) / parts), Math.ceil(((i + 1) * length) / parts)]);
  return ends(rows).flatMap(([top, bottom]) =>
    ends(columns).map(([left, right]) => {
      let sum = 0;
      for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += values[y * columns + x];
      return sum / (bottom - top) / (right - left);
    }));
}
