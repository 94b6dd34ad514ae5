// Whether a latent or an upload is like what a model has learnt: vae/typicality.py once more, from the same atlas.safetensors.

export const FINE = 0.07; // a typicality from which on the verdict is fine
const FIELDS = 4, COLOURS = 8, FAR = 8, OTHERS = 5;
const LATENT_MEASURES = ["density", "critic", "least"], UPLOAD_MEASURES = ["density", "error", "critic", "least"];

export class Judge {
  // found: {name: numbers} of an atlas that has one.
  constructor(found) {
    this.latents = critic(found, "latents");
    this.uploads = critic(found, "uploads");
    const all = found["judge.quantiles"], each = all.length / all.count;
    const rows = Array.from({ length: all.count }, (_, row) => all.subarray(row * each, (row + 1) * each));
    this.latentQuantiles = Object.fromEntries(LATENT_MEASURES.map(name => [name, rows.shift()]));
    this.uploadQuantiles = Object.fromEntries(UPLOAD_MEASURES.map(name => [name, rows.shift()]));
  }

  // z: in principal axes. log p(z | real) - log p(z | mixture), but for a constant.
  realism(z) {
    const [real, drawn] = this.latents(z);
    return real - drawn;
  }

  // z: in principal axes; density: the mixture's there. {typicality, against: the measure that says least}
  of(z, density) {
    return verdict({ density, critic: sureness(this.latents(z)) }, this.latentQuantiles);
  }

  ofUpload(inputs, error, density) {
    return verdict({ density, error: -error, critic: sureness(this.uploads(inputs)) }, this.uploadQuantiles);
  }
}

// A network: numbers -> its answers' logits.
function critic(found, name) {
  const part = key => found[`judge.${name}.${key}`];
  const center = part("center"), scale = part("scale");
  const layers = [0, 1, 2].map(place => [part(`${place}.weight`), part(`${place}.bias`)]);
  return inputs => {
    let x = Float64Array.from(center, (middle, i) => Math.max(-FAR, Math.min(FAR, (inputs[i] - middle) / scale[i])));
    for (const [place, [weight, bias]] of layers.entries()) {
      const wide = x.length, before = x;
      x = Float64Array.from(bias, (sum, row) => {
        for (let i = 0; i < wide; i++) sum += weight[row * wide + i] * before[i];
        return place < 2 ? sum / (1 + Math.exp(-sum)) : sum;
      });
    }
    return x;
  };
}

const sureness = logits => logits[0] - logits[logits.length - 1];

function verdict(values, quantiles) {
  let least = Infinity, against;
  for (const [name, value] of Object.entries(values)) {
    const share = shareBelow(value, quantiles[name]) * (name === "critic" ? 1 : OTHERS);
    if (share < least) [least, against] = [share, name];
  }
  return { typicality: shareBelow(least, quantiles.least), against };
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
  const area = size * size, inputs = [...z];
  const squares = new Float64Array(area), grey = new Float64Array(area);
  for (let c = 0; c < channels; c++) {
    const x = Float64Array.from({ length: area }, (_, i) => data[channels * i + c] / 255);
    inputs.push(...pooled(x, size, size, COLOURS));
    for (let i = 0; i < area; i++) {
      grey[i] += x[i] / channels;
      squares[i] += (x[i] - again.data[channels * i + c] / 255) ** 2 / channels;
    }
  }
  const across = [], down = [];
  for (let i = 0; i < area; i++) {
    if ((i + 1) % size) across.push((grey[i + 1] - grey[i]) ** 2);
    if (i + size < area) down.push((grey[i + size] - grey[i]) ** 2);
  }
  const means = [pooled(squares, size, size, FIELDS), pooled(across, size, size - 1, FIELDS), pooled(down, size - 1, size, FIELDS)];
  return [...inputs, ...means.flat().map(value => Math.log(value + 1e-5))];
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
