// The Morph tab: two pictures, each a point among the latents, and the film of the way from one to the other.
import { chips, slider } from "./controls.js";
import { download, make } from "./dom.js";
import { FRAME_MS, Film } from "./film.js";
import { arc, line } from "./latent.js";
import { Latest } from "./latest.js";
import { read, written } from "./place.js";
import { Side } from "./side.js";

const GIF_SIDE = 256; // pixels
const PATHS = { line, arc };

export class MorphTab {
  // root: an element to fill; frame: what the tabs share.
  constructor(root, frame) {
    const words = frame.words.morph;
    Object.assign(this, { frame, words, settings: {}, ends: {}, sides: {}, asked: {} });
    const failed = error => frame.failed(error);
    for (const name of ["a", "b"]) {
      this.sides[name] = new Side(name, words, frame.words.explore, from => this.#put(name, from));
      this.asked[name] = new Latest(failed);
    }
    this.filming = new Latest(failed);
    this.film = new Film(words);
    this.controls = make("div", { class: "lp-film-settings" });
    const stage = make("div", { class: "lp-stage" }, this.film.element, this.controls);
    root.replaceChildren(make("div", { class: "lp-card" },
      make("div", { class: "lp-ends" }, make("div", {}, this.sides.a.element), stage, make("div", {}, this.sides.b.element)),
      make("p", { class: "lp-promise" }, frame.words.explore.promise)));
  }

  // Another model: two of its examples, or what the address asks for.
  open(view, asked = {}) {
    const { examples, form } = view;
    this.view = view;
    this.ends = {};
    this.filming.forget();
    this.film.show([]); // what stood there is not this model's
    for (const side of Object.values(this.sides)) side.open(examples, form.channels === 1);
    this.restore({ ...this.settings, ...asked });
  }

  // To the settings and the ends in an address; what it does not name is as at first.
  restore(asked) {
    const { first, steps: [low, high] } = this.frame.choices.morph, { model, hash, examples } = this.view, steps = Number(asked.steps);
    this.settings = {
      steps: low <= steps && steps <= high ? Math.round(steps) : first.steps,
      path: Object.hasOwn(PATHS, asked.path ?? "") ? asked.path : first.path,
    };
    this.#build();
    const starts = { a: 0, b: Math.min(3, examples.length - 1) };
    for (const [name, example] of Object.entries(starts)) {
      const place = read(asked[name]);
      this.#put(name, place?.model === model && place.hash === hash ? { z: place.z } : { example });
    }
  }

  // What is not as at first, for the address.
  get place() {
    const { first } = this.frame.choices.morph, { model, hash } = this.view;
    const changed = Object.entries(this.settings).filter(([name, value]) => value !== first[name]);
    const ends = Object.entries(this.ends).map(([name, z]) => [name, written({ model, hash, z })]);
    return Object.fromEntries([...changed, ...ends]);
  }

  // A latent that came without a picture, as A.
  receive(z) {
    this.#put("a", { z });
  }

  #build() {
    const { words, settings } = this, [low, high] = this.frame.choices.morph.steps;
    const set = name => value => {
      settings[name] = value;
      this.#soon();
    };
    this.controls.replaceChildren(
      chips("morph-path", words.path, null, Object.keys(PATHS).map(name => [words[name], name]), settings.path, set("path")),
      slider("morph-steps", words.steps, { low, high, step: 1, value: settings.steps }, set("steps")),
      make("button", { class: "lp-btn main", type: "button", id: "morph-download", onclick: () => this.#keep() }, words.download));
  }

  #put(name, from) {
    return this.asked[name].ask(async isOver => {
      const { z, seen: given, note, ...portrait } = from.z ? from : await this.frame.explore.encode(from);
      if (isOver()) return;
      const [seen] = await this.frame.draw([z]);
      if (isOver()) return;
      this.ends[name] = z;
      this.sides[name].show({ given: given ?? seen, seen, note, ...(from.photo ? from : portrait) }); // set once, the eyes can be set again
      this.#soon();
    });
  }

  #soon() {
    this.frame.note();
    this.filming.soon(async isOver => {
      const { a, b } = this.ends, { steps, path } = this.settings;
      if (!a || !b) return;
      const frames = await this.frame.draw(Array.from({ length: steps }, (_, i) => PATHS[path](a, b, i / (steps - 1))));
      if (!isOver()) this.film.show(frames);
    });
  }

  // The film, there and back, as a GIF.
  async #keep() {
    const { frames } = this.film;
    if (!frames.length) return;
    try {
      const { GIFEncoder, quantize, applyPalette } = await import(this.frame.libraries.gif);
      const writer = GIFEncoder(), canvas = make("canvas", { width: GIF_SIDE, height: GIF_SIDE });
      const brush = canvas.getContext("2d", { willReadFrequently: true });
      brush.imageSmoothingQuality = "high";
      for (const url of [...frames, ...frames.slice(1, -1).reverse()]) {
        const image = Object.assign(new Image(), { src: url });
        await image.decode();
        brush.drawImage(image, 0, 0, GIF_SIDE, GIF_SIDE);
        const { data } = brush.getImageData(0, 0, GIF_SIDE, GIF_SIDE), palette = quantize(data, 256);
        writer.writeFrame(applyPalette(data, palette), GIF_SIDE, GIF_SIDE, { palette, delay: FRAME_MS });
      }
      writer.finish();
      download(new Blob([writer.bytes()], { type: "image/gif" }), `${this.frame.view.model}-morph.gif`);
    } catch (error) {
      this.frame.failed(error);
    }
  }
}
