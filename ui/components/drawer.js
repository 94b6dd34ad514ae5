// Who draws and who reads: this browser's own model as soon as it is there, the page's backend until then and where it fails.
// A page without a server has no such backend; there the model is waited for, and tried again.
import { urlOf } from "./dom.js";
import { Model } from "./model.js";
import { encoded } from "./reader.js";

const AGAIN = 3000; // ms after which a model that could not be opened, or broke, is opened anew when somebody asks

export class Drawer {
  // backend: decode, pictures and encode as explore.js describes them, or none of the three.
  constructor(backend, words) {
    Object.assign(this, { backend, words });
    this.model = new Model();
  }

  // Resolves to whether this browser will draw.
  open(view) {
    this.view = view;
    this.began = performance.now();
    this.opening = this.model.open(view.where);
    return this.opening;
  }

  // Another model is about to come.
  leave() {
    this.model.leave();
  }

  // z -> a bitmap, or the URL of a picture that the backend drew. Fails with an error that isStale where another model has come.
  decode(z) {
    return this.#drawn(where => this.model.decode(z, where), () => this.backend.decode(z));
  }

  // Several pictures, as URLs.
  pictures(zs) {
    const own = where => Promise.all(zs.map(async z => urlOf(await this.model.decode(z, where))));
    return this.#drawn(own, () => this.backend.pictures(zs));
  }

  async #drawn(own, theirs) {
    const { view } = this, isOwn = await this.#isOwn();
    try {
      if (isOwn && view === this.view) return await own(view.where);
    } catch (error) {
      console.warn("the decoder in this browser failed:", error.message);
      if (!this.backend.decode && view === this.view) throw this.#excuse();
    }
    if (view !== this.view) throw Object.assign(new Error("another model is open"), { isStale: true, isFinal: true });
    return theirs();
  }

  // What the model reads in a picture; read here it stays here. atlas: a promise of the model's, which has the examples.
  async encode(from, atlas) {
    const { view } = this;
    if (await this.#isOwn()) {
      try {
        return await encoded(await whole(from, view.form, atlas), { model: this.model, where: view.where, form: view.form, atlas, words: this.words });
      } catch (error) {
        // The server knows more kinds of files.
        if (error.isFinal && !(error.reason === "unreadable" && this.backend.encode)) throw error;
        console.warn("the encoder in this browser failed:", error.message);
        if (!this.backend.encode) throw new Error(this.words[/fetch/.test(error.message) ? "offline" : "cannot_read"]);
      }
    }
    return this.backend.encode(from);
  }

  async #isOwn() {
    if (this.model.isReady || this.backend.decode) return this.model.isReady;
    const { opening } = this;
    await opening;
    if (this.model.isReady) return true;
    if (opening !== this.opening) return this.#isOwn(); // another model has been chosen meanwhile
    if (performance.now() - this.began < AGAIN) throw this.#excuse();
    this.open(this.view);
    return this.#isOwn();
  }

  #excuse() {
    const { isOffline } = this.model;
    return Object.assign(new Error(this.words[isOffline ? "offline" : "cannot_draw"]), { isFinal: !isOffline });
  }
}

// An example is a picture that the atlas has.
async function whole(from, form, atlas) {
  if (from.example === undefined) return from;
  const known = await atlas;
  if (!known) throw new Error("could not fetch the atlas");
  return { picture: { ...form, data: known.example(from.example) } };
}
