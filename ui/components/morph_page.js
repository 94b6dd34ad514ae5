// The Morph tab of a page without a server: two pictures read and a film drawn in this browser. side.js and film.js show them.
import { chips, mounted, slider } from "./controls.js";
import { download, make } from "./dom.js";
import film from "./film.js";
import side from "./side.js";
import { arc, line } from "./latent.js";

const FRAME_MS = 80; // as film.js plays it
const GIF_SIDE = 256; // pixels

const PATHS = { line, arc };

export class MorphPage {
  // root: holds the elements of both sides and of the film. read(from): promise of {z, seen, note}, as Explore's encode gives it;
  // draw(zs): promise of their pictures as URLs; gif: URL of gifenc; failed(error).
  constructor(root, { words, boardWords, first, read, draw, gif, failed }) {
    Object.assign(this, { words, first, read, draw, gif, failed, settings: { ...first }, ends: {} });
    const set = name => value => {
      this.settings[name] = value;
      this.#soon();
    };
    this.sides = Object.fromEntries(["a", "b"].map(name => {
      const file = make("input", {
        type: "file", accept: "image/*", hidden: true, id: `morph-${name}-file`,
        onchange: () => {
          if (file.files[0]) this.#put(name, { file: file.files[0] });
          file.value = "";
        },
      });
      const element = root.querySelector(`#morph-${name}`);
      element.after(file);
      const events = { example: ({ index }) => this.#put(name, { example: index }), drawing: ({ png }) => this.#put(name, { drawing: png }), eyes: portrait => this.#put(name, portrait) };
      return [name, mounted(side, element, { input: `#${file.id}`, words: boardWords }, events)];
    }));
    this.film = mounted(film, root.querySelector(".lp-film"), { share: words.share });
    root.querySelector(".lp-stage").append(make("div", { class: "lp-film-settings" },
      chips(words.path, null, Object.keys(PATHS).map(name => [words[name], name]), first.path, set("path")),
      slider(words.steps, { low: 2, high: 33, step: 1, value: first.steps }, set("steps")),
      make("button", { class: "lp-btn main", type: "button", "data-act": "download", onclick: () => this.#keep() }, words.download)));
  }

  // Another model, with the URLs of its examples.
  open(examples, channels) {
    this.turn = {};
    Object.assign(this, { examples, draws: channels === 1, ends: {} });
    this.film.value = { frames: [] }; // what stood there is not this model's
    for (const side of Object.values(this.sides)) side.value = {};
    this.#put("a", { example: 0 });
    this.#put("b", { example: Math.min(3, examples.length - 1) });
  }

  // A latent that came without a picture, as A.
  receive(z) {
    this.#put("a", { z });
  }

  async #put(name, from) {
    const { turn } = this, asked = (this.sides[name].asked = {});
    try {
      const { z, seen: given, note = "", ...portrait } = from.z ? from : await this.read(from);
      const [seen] = await this.draw([z]);
      if (turn !== this.turn || asked !== this.sides[name].asked) return;
      this.ends[name] = z;
      const own = { given: given ?? seen, seen, note, examples: this.examples, draws: this.draws };
      this.sides[name].value = { ...own, ...(from.photo ? from : portrait) }; // set once, the eyes can be set again
      this.#soon();
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#draw(), 60);
  }

  async #draw() {
    const { a, b } = this.ends, { turn, settings: { steps, path } } = this, asked = (this.asked = {});
    if (!a || !b) return;
    try {
      const frames = await this.draw(Array.from({ length: steps }, (_, i) => PATHS[path](a, b, i / (steps - 1))));
      if (turn === this.turn && asked === this.asked) this.film.value = { frames };
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  // The film, there and back, as a GIF.
  async #keep() {
    const frames = this.film.value?.frames ?? [];
    if (!frames.length) return;
    try {
      const { GIFEncoder, quantize, applyPalette } = await import(this.gif);
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
      download(new Blob([writer.bytes()], { type: "image/gif" }), "morph.gif");
    } catch (error) {
      this.failed(error);
    }
  }
}
