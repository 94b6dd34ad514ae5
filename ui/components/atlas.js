// What is known about a model's latents, read from its atlas.safetensors: where pictures lie, and how to keep a reading still.
import { Judge, shareBelow, squaredError, uploadInputs } from "./typicality.js";

const COORDINATES = 16, TYPICAL = 10; // the place among likelihoods from which on a latent is typical

export class Atlas {
  // data: the bytes of an atlas.safetensors, an ArrayBuffer.
  constructor(data) {
    const { mean, covariance, directions, likelihoods, examples, ...rest } = tensors(data);
    Object.assign(this, { mean, covariance, directions, likelihoods, examples });
    this.judge = rest["judge.quantiles"] ? new Judge(rest) : null; // older atlases have none
    this.latent = mean.length;
    const D = this.latent, [weights, means, factors] = ["weights", "means", "factors"].map(name => rest[`mixture.${name}`]);
    this.parts = Array.from(weights, (weight, k) => {
      const factor = factors.subarray(k * D * D, (k + 1) * D * D);
      let constant = Math.log(weight) - (D / 2) * Math.log(2 * Math.PI);
      for (let i = 0; i < D; i++) constant -= Math.log(factor[i * D + i]);
      return { weight, mean: means.subarray(k * D, (k + 1) * D), factor, constant };
    });
  }

  // The log density of the fitted mixture, in nats.
  likelihood(z) {
    const each = this.#each(z), most = Math.max(...each);
    return most + Math.log(each.reduce((sum, value) => sum + Math.exp(value - most), 0));
  }

  #each(z) {
    const white = new Float64Array(this.latent);
    return this.parts.map(part => part.constant - whitened(z, part, white) / 2);
  }

  // Higher for latents that are more like those of real pictures.
  realism(z) {
    return Math.min(this.likelihood(z), this.likelihoods[TYPICAL]);
  }

  // Along the widest principal directions, in which pictures differ most. As Atlas.coordinates in Python.
  coordinates(z) {
    return this.principal(z, Math.min(this.latent, COORDINATES));
  }

  // A latent near z for given noise, one draw from N(0, 1) a dimension. As Mixture.around in Python.
  around(z, noise, spread) {
    const each = this.#each(z), white = new Float64Array(this.latent), place = each.indexOf(Math.max(...each));
    whitened(z, this.parts[place], white);
    return this.sample(place, noise.map((value, i) => Math.sqrt(1 - spread ** 2) * white[i] + spread * value), 1);
  }

  // A latent from the mixture for given dice: the number of a part, and one draw from N(0, 1) a dimension. As Mixture.sample in Python.
  sample(part, noise, temperature) {
    const D = this.latent, { mean, factor } = this.parts[part];
    return Array.from(mean, (middle, i) => {
      let sum = 0;
      for (let j = 0; j <= i; j++) sum += factor[i * D + j] * noise[j];
      return middle + temperature * sum;
    });
  }

  // The bytes of the model's example of that number, in rows of pixels.
  example(number) {
    const each = this.examples.length / this.examples.count;
    return this.examples.subarray(number * each, (number + 1) * each);
  }

  // How typical a latent is, in [0, 1] (from FINE on it is fine), the measure that says least, and whether it is denser than
  // every picture that was held out: only the middle of them all is, a blur. As of_latents in Python.
  verdict(z) {
    const density = this.likelihood(z), isMiddle = density >= this.likelihoods.at(-1);
    const { typicality, against } = this.judge?.of(this.principal(z), density) ?? { typicality: shareBelow(density, this.likelihoods), against: "density" };
    return { typicality, against, isMiddle };
  }

  // The same of an upload, by the picture, what it comes back as ({size, channels, data} both), and its posterior's mean;
  // null where the atlas has no judge.
  verdictOfUpload(picture, again, z) {
    return this.judge && this.judge.ofUpload(uploadInputs(picture, again, z), squaredError(picture, again), this.likelihood(z));
  }

  // z along the principal directions, from the mean; count: the widest ones alone.
  principal(z, count = this.latent) {
    const D = this.latent, from = Array.from(z, (value, i) => value - this.mean[i]);
    return Array.from({ length: count }, (_, row) => dot(from, this.directions.subarray(row * D, (row + 1) * D)));
  }

  // The knob's vector with as little change as possible so that the knobs of `others` keep their readings: orthogonal in
  // whitened space. null where nothing is left of it. The same as Atlas.still in Python.
  still(vector, others) {
    if (!others.length) return vector;
    const D = this.latent;
    const spread = others.map(({ probe }) => Array.from({ length: D }, (_, i) => dot(this.covariance.subarray(i * D, (i + 1) * D), probe)));
    const matrix = others.map(({ probe }) => spread.map(column => dot(probe, column)));
    const shares = solve(matrix, others.map(({ probe }) => dot(probe, vector)));
    const kept = Array.from(vector, (value, i) => value - shares.reduce((sum, share, l) => sum + share * spread[l][i], 0));
    return dot(kept, kept) < 0.0025 * dot(vector, vector) ? null : kept;
  }
}

// Fills white with z's residual from a part's mean, whitened, and gives its squared length; the part's factor is lower triangular.
function whitened(z, { mean, factor }, white) {
  const D = white.length;
  let length = 0;
  for (let i = 0; i < D; i++) {
    let left = z[i] - mean[i];
    for (let j = 0, row = i * D; j < i; j++) left -= factor[row + j] * white[j];
    white[i] = left / factor[i * D + i];
    length += white[i] * white[i];
  }
  return length;
}

export function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// Gauss with pivots. A row that the others tell already adds nothing.
function solve(matrix, right) {
  const rows = matrix.map((row, i) => [...row, right[i]]), n = rows.length, scale = Math.max(...matrix.flat().map(Math.abs));
  const pivots = [];
  for (let column = 0; column < n; column++) {
    const free = rows.filter(row => !pivots.some(([used]) => used === row));
    const best = free.reduce((a, b) => (Math.abs(b[column]) > Math.abs(a[column]) ? b : a));
    if (Math.abs(best[column]) < 1e-6 * scale) continue;
    for (const row of rows) {
      if (row === best) continue;
      const times = row[column] / best[column];
      for (let j = column; j <= n; j++) row[j] -= times * best[j];
    }
    pivots.push([best, column]);
  }
  const found = Array(n).fill(0);
  for (const [row, column] of pivots) found[column] = row[n] / row[column];
  return found;
}

// safetensors: eight bytes with the header's length, the header as JSON, then all numbers. {name: a typed array of its numbers,
// half floats as Float32Array, with the first dimension as its count}.
export function tensors(data) {
  const length = Number(new DataView(data).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 8, length)));
  const found = {};
  for (const [name, { dtype, shape, data_offsets: [start, end] = [] }] of Object.entries(header)) {
    const Numbers = { F32: Float32Array, F16: Uint16Array, U8: Uint8Array, I8: Int8Array, I64: BigInt64Array }[dtype];
    if (!Numbers) continue;
    const numbers = new Numbers(data.slice(8 + length + start, 8 + length + end));
    found[name] = Object.assign(dtype === "F16" ? Float32Array.from(numbers, half) : numbers, { count: shape[0] });
  }
  return found;
}

// The number that the 16 bits of a half float stand for; not every browser has a Float16Array.
function half(bits) {
  const exponent = (bits >> 10) & 31, share = bits & 1023;
  return (bits >> 15 ? -1 : 1) * (exponent ? (1 + share / 1024) * 2 ** (exponent - 15) : share * 2 ** -24);
}
