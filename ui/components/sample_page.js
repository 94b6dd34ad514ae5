// The Sample tab of a page without a server: its settings, and throws that this browser draws. gallery.js shows them.
import { chips, mounted, slider } from "./controls.js";
import { thrown } from "./dice.js";
import { download, fill, make } from "./dom.js";
import gallery from "./gallery.js";

const NEW_SEEDS = 10_000; // numbers that can be told to a friend
const MOST_TRAITS = 10;
const CELL = 128; // pixels of a picture on the sheet that is kept

export class SamplePage {
  // root: the tab's grid, which holds the gallery's elements. draw(zs): promise of their pictures as URLs; atlas(): promise of the model's;
  // send(tab, z): to another tab; failed(error).
  constructor(root, { words, first, draw, atlas, send, failed }) {
    Object.assign(this, { words, draw, atlas, failed, zs: [], settings: { ...first } });
    const set = name => value => {
      this.settings[name] = value;
      this.#soon();
    };
    this.seed = make("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1, value: first.seed, onchange: () => this.#typed() });
    this.only = make("div");
    const settings = make("div", { class: "lp-card lp-throw" },
      slider(words.count, { low: 1, high: 64, step: 1, value: first.count }, set("count")),
      slider(words.temperature, { low: 0, high: 1.5, step: 0.05, value: first.temperature }, set("temperature")),
      chips(words.prior, words.prior_note, ["mixture", "normal"].map(name => [words[name], name]), first.prior, set("prior")),
      this.only,
      make("label", { class: "lp-seed" }, words.seed, make("div", { class: "info-text" }, words.seed_note), this.seed));
    const button = (name, kind, act) => make("button", { class: `lp-btn ${kind}`, type: "button", "data-act": name, onclick: act }, words[name]);
    const dice = make("div", { class: "lp-dice" },
      button("again", "main", () => this.#again()), button("download", "", () => this.#keep()));
    const tiles = root.querySelector(".lp-gallery");
    const events = Object.fromEntries(["explore", "morph"].map(tab => [tab, ({ index }) => send(tab, this.zs[index])]));
    this.gallery = mounted(gallery, tiles, { value: { pictures: [], title: "", story: "" } }, events);
    root.prepend(settings, dice);
  }

  // Another model: the knobs it can be asked for.
  open(knobs) {
    const traits = knobs.filter(knob => knob.trait).slice(0, MOST_TRAITS);
    this.settings.only = [];
    this.#show([], []); // what stood there is not this model's
    this.only.replaceChildren(...(traits.length ? [
      chips(this.words.only, this.words.only_note, traits.map(knob => [knob.trait.label, knob.key]), [], keys => {
        this.settings.only = traits.filter(knob => keys.includes(knob.key));
        this.#soon();
      }),
    ] : []));
    this.#throw();
  }

  #again() {
    this.seed.value = this.settings.seed = Math.floor(Math.random() * NEW_SEEDS);
    this.#throw();
  }

  #typed() {
    const { value } = this.seed, seed = Number(value);
    if (value && Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31) {
      this.settings.seed = seed;
      return this.#throw();
    }
    this.failed(new Error(fill(this.words.bad_whole, { name: this.words.seed, value: value || "?", low: 0, high: "2,147,483,647" })));
    this.seed.value = this.settings.seed;
  }

  // A slider on its way asks many times: the last one counts.
  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#throw(), 60);
  }

  async #throw() {
    const turn = (this.turn = {}), settings = { ...this.settings };
    try {
      const zs = await thrown(await this.atlas(), settings, () => turn !== this.turn);
      if (turn !== this.turn) return; // a newer throw, or another model
      if (!zs) throw new Error(this.words.too_rare);
      const pictures = await this.draw(zs);
      if (turn === this.turn) this.#show(zs, pictures, settings.seed);
    } catch (error) {
      if (turn === this.turn) this.failed(error);
    }
  }

  #show(zs, pictures, seed) {
    const { words } = this, count = zs.length;
    Object.assign(this, { zs, thrownSeed: seed });
    this.gallery.value = {
      pictures, title: count ? fill(count > 1 ? words.title : words.title_one, { count }) : "", story: count ? fill(words.story, { latent: zs[0].length }) : "",
    };
  }

  // All of them on one sheet.
  async #keep() {
    const { pictures } = this.gallery.value, seed = this.thrownSeed;
    if (!pictures.length) return;
    const columns = Math.ceil(Math.sqrt(pictures.length)), rows = Math.ceil(pictures.length / columns);
    const canvas = make("canvas", { width: columns * CELL, height: rows * CELL }), brush = canvas.getContext("2d");
    brush.imageSmoothingQuality = "high";
    for (const [place, url] of pictures.entries()) {
      const image = Object.assign(new Image(), { src: url });
      await image.decode();
      brush.drawImage(image, (place % columns) * CELL, Math.floor(place / columns) * CELL, CELL, CELL);
    }
    canvas.toBlob(png => download(png, `throws-${seed}.png`));
  }
}
