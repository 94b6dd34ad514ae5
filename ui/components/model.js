// The model in the visitor's own browser, behind a worker. It opens in its own time; until it is ready, and where it cannot be
// had (no wasm, an old browser, a model without graphs), others draw and read.

export class Model {
  constructor() {
    this.asked = 0;
    this.waiting = new Map();
    this.isReady = false;
  }

  // where: URLs {worker, decoder, encoder, finder}, runtime: {library, glue, machine}, and of the weights' file as much as each
  // needs, [URLs] of its parts from the first: {draws, reads}; undefined where there is nothing to open. Resolves to whether it can draw.
  async open(where) {
    this.leave();
    this.where = where;
    this.isOffline = false;
    if (!where) return false;
    try {
      this.worker ??= this.#hire(where.worker);
      await this.#ask("open", { runtime: where.runtime, graph: where.decoder, weights: where.draws });
    } catch (error) {
      console.warn("no model in this browser:", error.message);
      if (where === this.where) this.isOffline = /fetch/.test(error.message); // ours, and browsers' own words
      return false;
    }
    if (where !== this.where) return false; // another model has been opened meanwhile
    this.isReady = true;
    return true;
  }

  // Another model is about to come: others draw until that one is open.
  leave() {
    this.where = null;
    this.isReady = false;
  }

  // z -> promise of an ImageBitmap. What fails is not tried again before a model is opened.
  async decode(z, where = this.where) {
    if (!where || where !== this.where) throw new Error("another model is open");
    try {
      return (await this.#ask("decode", { graph: where.decoder, z })).bitmap;
    } catch (error) {
      if (where === this.where) this.#dismiss();
      throw error;
    }
  }

  // picture: {size, channels, data}, bytes in rows of pixels -> promise of the posterior, {z: its mean, std: its standard deviations}.
  async encode({ size, channels, data }, where = this.where) {
    const area = size * size, x = new Float32Array(channels * area);
    data.forEach((value, place) => (x[(place % channels) * area + Math.floor(place / channels)] = value / 255));
    const { mean, logvar } = await this.#run({ graph: where.encoder, weights: where.reads, x, shape: [1, channels, size, size] });
    return { z: Array.from(mean), std: Array.from(logvar, value => Math.exp(value / 2)) };
  }

  // What the face finder sees in a picture of its size, (128, 128, 3) in [-1, 1] -> promise of {boxes, scores}.
  look(x, where = this.where) {
    return this.#run({ graph: where.finder, weights: [], x, shape: [1, 128, 128, 3] });
  }

  async #run(asked) {
    return (await this.#ask("run", asked)).found;
  }

  #hire(url) {
    const worker = new Worker(url, { type: "module" });
    worker.onmessage = ({ data: { call, error, ...answer } }) => {
      const { resolve, reject } = this.waiting.get(call) ?? {};
      this.waiting.delete(call);
      if (error) reject?.(new Error(error));
      else resolve?.(answer);
    };
    worker.onerror = () => this.#dismiss();
    return worker;
  }

  #dismiss() {
    this.isReady = false;
    this.worker?.terminate();
    this.worker = null;
    for (const { reject } of this.waiting.values()) reject(new Error("the worker has ended"));
    this.waiting.clear();
  }

  #ask(name, asked) {
    const call = ++this.asked;
    return new Promise((resolve, reject) => {
      if (!this.worker) return reject(new Error("the worker has ended"));
      this.waiting.set(call, { resolve, reject });
      this.worker.postMessage({ call, name, ...asked });
    });
  }
}
