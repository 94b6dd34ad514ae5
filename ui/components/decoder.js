// The decoder in the visitor's own browser, behind a worker. It opens in its own time; until it is ready, and where it cannot be
// had (no wasm, an old browser, a model without a graph), others draw.

export class Decoder {
  constructor() {
    this.asked = 0;
    this.waiting = new Map();
    this.isReady = false;
  }

  // where: {worker, runtime, graph, weights: URLs}, or undefined where there is nothing to open. Resolves to whether it can draw.
  async open(where) {
    this.leave();
    const { turn } = this;
    if (!where) return false;
    try {
      this.worker ??= this.#hire(where.worker);
      await this.#ask("open", { runtime: where.runtime, graph: where.graph, weights: where.weights });
    } catch (error) {
      console.warn("no decoder in this browser:", error.message);
      return false;
    }
    if (turn !== this.turn) return false; // another model has been opened meanwhile
    this.graph = where.graph;
    this.isReady = true;
    return true;
  }

  // The model is about to change: others draw until the next one is open.
  leave() {
    this.turn = {};
    this.isReady = false;
  }

  // z -> promise of an ImageBitmap. What fails is not tried again before another model is opened.
  async decode(z) {
    const { turn } = this;
    try {
      return (await this.#ask("decode", { graph: this.graph, z })).bitmap;
    } catch (error) {
      if (turn === this.turn) this.#dismiss();
      throw error;
    }
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
      this.waiting.set(call, { resolve, reject });
      this.worker.postMessage({ call, name, ...asked });
    });
  }
}
