// The decoder in the visitor's own browser, behind a worker. It opens in its own time; until it is ready, and for good where
// it cannot be had (no wasm, an old browser, a model without a graph), others draw.

export class Decoder {
  constructor() {
    this.asked = 0;
    this.waiting = new Map();
    this.isReady = false;
  }

  // where: {worker, runtime, graph, weights: URLs}, or null where there is nothing to open. Resolves to whether it can draw.
  async open(where) {
    const turn = (this.turn = {});
    this.isReady = false;
    if (!where || this.isBroken) return false;
    try {
      this.worker ??= this.#hire(where.worker);
      await this.#ask("open", { runtime: where.runtime, graph: where.graph, weights: where.weights });
    } catch (error) {
      console.warn("no decoder in this browser:", error.message);
      return false;
    }
    if (turn === this.turn) this.isReady = true; // else another model has been opened meanwhile
    return this.isReady;
  }

  // z -> promise of an ImageBitmap. What fails once is not tried again, unless another model has come meanwhile.
  async decode(z) {
    const { turn } = this;
    try {
      return (await this.#ask("decode", { z })).bitmap;
    } catch (error) {
      if (turn === this.turn) this.close();
      throw error;
    }
  }

  // Gives up: whoever waits is told, and nothing is asked again.
  close() {
    this.isReady = false;
    this.isBroken = true;
    this.worker?.terminate();
    for (const { reject } of this.waiting.values()) reject(new Error("the decoder was closed"));
    this.waiting.clear();
  }

  #hire(url) {
    const worker = new Worker(url, { type: "module" });
    worker.onmessage = ({ data: { call, error, ...answer } }) => {
      const { resolve, reject } = this.waiting.get(call) ?? {};
      this.waiting.delete(call);
      if (error) reject?.(new Error(error));
      else resolve?.(answer);
    };
    worker.onerror = () => this.close();
    return worker;
  }

  #ask(name, asked) {
    const call = ++this.asked;
    return new Promise((resolve, reject) => {
      this.waiting.set(call, { resolve, reject });
      this.worker.postMessage({ call, name, ...asked });
    });
  }
}
