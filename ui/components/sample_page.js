// The Sample tab of a page without a server: its settings, and throws that this browser draws. gallery.js shows them.
import { bestOf } from "./best.js";
import { chips, mounted, slider } from "./controls.js";
import { thrown } from "./dice.js";
import { download, fill, make } from "./dom.js";
import gallery from "./gallery.js";

const NEW_SEEDS = 10_000; // numbers that can be told to a friend
const MOST_TRAITS = 10;
const CELL = 128; // pixels of a picture on the sheet that is kept

export class SamplePage {
  // root: the tab's grid, which holds the gallery's elements. first: the settings it begins with; limits: {name: [low, high]} of those
  // that are numbers, copy: the novelty under which a picture is nearly a copy. draw(zs): promise of their pictures as URLs; atlas(),
  // sketch(): promises of the model's, the latter of null where it has none; send(tab, z): to another tab; failed(error).
  constructor(root, { words, first, limits, copy, draw, atlas, sketch, send, failed }) {
    Object.assign(this, { words, copy, limits, draw, atlas, sketch, failed, zs: [], settings: { ...first } });
    this.seed = make("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1, value: first.seed, onchange: () => this.#typed() });
    this.only = make("div");
    this.spread = this.#slider("spread", 0.05);
    this.prior = make("div");
    const settings = make("div", { class: "lp-card lp-throw" },
      this.#slider("draw", 1), this.#slider("count", 1), this.#slider("difference", 0.05), this.#slider("temperature", 0.05),
      this.prior, this.spread, this.only,
      make("label", { class: "lp-seed" }, words.seed, make("div", { class: "info-text" }, words.seed_note), this.seed));
    const button = (name, kind, act) => make("button", { class: `lp-btn ${kind}`, type: "button", "data-act": name, onclick: act }, words[name]);
    const dice = make("div", { class: "lp-dice" },
      button("again", "main", () => this.#again()), button("download", "", () => this.#keep()));
    const tiles = root.querySelector(".lp-gallery");
    const events = Object.fromEntries(["explore", "morph"].map(tab => [tab, ({ index }) => send(tab, this.zs[index])]));
    Object.assign(events, { around: ({ index }) => this.#near(this.zs[index]), left: ({ index }) => this.#look(index) });
    this.gallery = mounted(gallery, tiles, { value: { pictures: [], title: "", story: "" } }, events);
    root.prepend(settings, dice);
  }

  #slider(name, step) {
    const [low, high] = this.limits[name];
    return slider(this.words[name], { low, high, step, value: this.settings[name] }, value => {
      this.settings[name] = value;
      this.#soon();
    });
  }

  // Where to throw; near a picture only once one was picked.
  #priors() {
    const { words, settings } = this, names = ["mixture", "normal", ...(settings.around ? ["near"] : [])];
    this.spread.hidden = settings.prior !== "near";
    this.prior.replaceChildren(chips(words.prior, words.prior_note, names.map(name => [words[name], name]), settings.prior, prior => {
      settings.prior = prior;
      this.spread.hidden = prior !== "near";
      this.#soon();
    }));
  }

  #near(around) {
    Object.assign(this.settings, { around, prior: "near" });
    this.#priors();
    this.#throw();
  }

  // Another model: the knobs it can be asked for.
  open(knobs) {
    const traits = knobs.filter(knob => knob.trait).slice(0, MOST_TRAITS);
    const { settings } = this;
    Object.assign(settings, { only: [], around: null, prior: settings.prior === "near" ? "mixture" : settings.prior });
    this.#priors();
    Object.assign(this, { zs: [], thrown: null });
    this.gallery.value = { pictures: [], title: "", story: "" }; // what stood there is not this model's
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

  #throw() {
    const settings = { ...this.settings };
    return this.#turn(async isOver => {
      const atlas = await this.atlas(), { count, draw } = settings;
      const zs = await thrown(atlas, { ...settings, count: Math.max(count, draw), least: count }, isOver);
      if (isOver()) return;
      if (!zs) throw new Error(this.words.too_rare);
      const found = await bestOf(atlas, zs, settings, isOver);
      if (found) await this.#show({ ...found, atlas, seed: settings.seed }, -1, isOver);
    });
  }

  // Those that were left out, from that one on; with -1 the best again.
  #look(first) {
    return this.#turn(isOver => this.#show(this.thrown, first, isOver));
  }

  // What was asked for last is done; act(isOver) leaves off once isOver() says that something newer, or another model, has come.
  async #turn(act) {
    const turn = (this.turn = {}), isOver = () => turn !== this.turn;
    try {
      await act(isOver);
    } catch (error) {
      if (!isOver()) this.failed(error);
    }
  }

  async #show(found, first, isOver) {
    const { words } = this, { kept, left, atlas, seed } = found, most = this.limits.count[1];
    const zs = first < 0 ? kept : left.slice(first, first + most), after = first + zs.length, ways = [];
    const say = (name, values) => fill(words[name], Object.fromEntries(Object.entries(values).map(([key, value]) => [key, value.toLocaleString("en")])));
    const pictures = await this.draw(zs);
    if (isOver()) return;
    if (first < 0 && left.length) ways.push([say("left", { count: left.length }), 0]);
    if (first >= 0 && after < left.length) ways.push([words.left_next, after]);
    if (first >= 0) ways.push([words.left_back, -1]);
    const title = first < 0
      ? say(left.length ? "best" : zs.length > 1 ? "title" : "title_one", { count: zs.length, draw: zs.length + left.length })
      : say("left_title", { first: first + 1, last: after, count: left.length });
    Object.assign(this, { zs, thrown: found, thrownSeed: seed });
    const value = { pictures, title, ways, story: say("story", { latent: zs[0].length }) };
    this.gallery.value = value;
    const sketch = await this.sketch();
    if (sketch && !isOver()) this.gallery.value = { ...value, news: zs.map(z => this.#news(sketch, sketch.novelty(atlas.coordinates(z)), say)) };
  }

  #news(sketch, share, say) {
    const part = sketch.count < sketch.of ? say("part", { count: sketch.count, of: sketch.of }) : "";
    return `${fill(this.words[share < this.copy ? "copied" : "new"], { share: `${Math.round(100 * share)} %` })} ${part}`.trim();
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
