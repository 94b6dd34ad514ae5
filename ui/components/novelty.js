// New or copied? A sketch of the latents that a model learnt from, read from its training.safetensors. As vae.measure.novelty in Python.
import { tensors } from "./atlas.js";

export class Sketch {
  // data: the file's bytes.
  constructor(data) {
    const { rows, scale, heldout, of } = tensors(data);
    Object.assign(this, { rows, scale, heldout, count: rows.count, of: Number(of[0]) });
  }

  // Of a point in Atlas.coordinates the share of held-out pictures that are nearer to what was learnt from.
  novelty(point) {
    const { rows, scale, heldout } = this, width = scale.length, last = heldout.length - 1;
    let nearest = Infinity;
    for (let row = 0; row < rows.length; row += width) {
      let square = 0;
      for (let k = 0; k < width && square < nearest; k++) square += (rows[row + k] * scale[k] - point[k]) ** 2;
      nearest = Math.min(nearest, square);
    }
    const distance = Math.sqrt(nearest), above = heldout.findIndex(value => value > distance);
    if (above < 1) return above < 0 ? 1 : 0;
    return (above - 1 + (distance - heldout[above - 1]) / (heldout[above] - heldout[above - 1])) / last;
  }
}
