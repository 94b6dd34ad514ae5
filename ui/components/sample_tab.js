// The Sample tab: its settings, and throws that are drawn from the atlas in this browser.
import { bestOf } from "./best.js";
import { chips, slider, stepped } from "./controls.js";
import { thrown } from "./dice.js";
import { download, fill, make } from "./dom.js";
import { Gallery } from "./gallery.js";
import { whole } from "./latent.js";
import { Latest } from "./latest.js";
import { LOOKS, finished } from "./looks.js";
import { read, written } from "./place.js";

const NEW_SEEDS = 10_000; // numbers that can be told to a friend
const MOST_TRAITS = 10;
const NUMBERS = { draw: 1, count: 1, difference: 0.05, temperature: 0.05, spread: 0.05, seed: 1 }; // settings and their steps

export class SampleTab {
  // root: an element to fill; frame: what the tabs share.
  constructor(root, frame) {
    const { first, limits } = frame.choices.sample, words = frame.words.sample;
    Object.assign(this, { frame, words, first, limits, settings: { ...first } });
    this.latest = new Latest(error => frame.failed(error));
    const button = (name, kind, act) => make("button", { class: `lp-btn ${kind}`, type: "button", id: `sample-${name}`, onclick: act }, words[name]);
    const send = tab => index => frame.send(tab, this.shown.zs[index]);
    this.gallery = new Gallery(words, {
      explore: send("explore"), morph: send("morph"), around: index => this.#near(this.shown.zs[index]), left: index => this.#lookAt(index),
    });
    this.controls = make("div", { class: "lp-card lp-throw" });
    root.replaceChildren(
      this.controls,
      make("div", { class: "lp-dice" }, button("again", "main", () => this.#again()), button("download", "", () => this.#keep())),
      make("div", { class: "lp-card" }, this.gallery.element));
  }

  // Another model: the knobs it can be asked for, and its first throw. asked: settings as the address has them.
  open({ knobs, start, model, hash, form }, asked) {
    const { settings } = this;
    Object.assign(settings, { only: [], around: null, prior: settings.prior === "near" ? "mixture" : settings.prior });
    Object.assign(this, { model, hash, size: form.size, shown: null, traits: whole(knobs, start.length).filter(knob => knob.trait).slice(0, MOST_TRAITS) });
    this.gallery.show({}); // what stood there is not this model's
    this.restore(asked);
  }

  // To the settings in an address, and to what they throw; what it does not name is as at first.
  restore(asked) {
    if (asked) Object.assign(this.settings, this.#read(asked));
    this.#build();
    this.#throw();
  }

  // What of the settings is not as at first, for the address.
  get place() {
    const { settings, first, model, hash } = this;
    const changed = Object.keys(NUMBERS).concat("prior", "look").filter(name => settings[name] !== first[name]);
    const place = Object.fromEntries(changed.map(name => [name, settings[name]]));
    if (settings.only.length) place.only = settings.only.map(knob => knob.key).join(" ");
    if (settings.around) place.around = written({ model, hash, z: settings.around });
    return place;
  }

  #read(asked) {
    const { first, limits, traits } = this, around = read(asked.around), keys = (asked.only ?? "").split(" ");
    const numbers = Object.keys(NUMBERS).map(name => {
      const value = Number(asked[name] ?? NaN), [low, high] = limits[name];
      return [name, low <= value && value <= high ? stepped(value, NUMBERS[name]) : first[name]];
    });
    const found = {
      ...Object.fromEntries(numbers),
      look: LOOKS.includes(asked.look) ? asked.look : first.look,
      only: traits.filter(knob => keys.includes(knob.key)),
      around: around?.model === this.model && around.hash === this.hash ? around.z : null,
    };
    const priors = ["normal", ...(found.around ? ["near"] : [])];
    return { ...found, prior: priors.includes(asked.prior) ? asked.prior : first.prior };
  }

  #build() {
    const { words, settings, limits, traits } = this, [low, high] = limits.seed;
    const set = name => value => {
      settings[name] = value;
      this.#soon();
    };
    this.seed = make("input", { type: "number", min: low, max: high, step: 1, value: settings.seed, onchange: () => this.#typed() });
    this.prior = make("div");
    this.spread = this.#slider("spread");
    this.#priors();
    const only = keys => set("only")(traits.filter(knob => keys.includes(knob.key)));
    const look = name => {
      settings.look = name;
      this.#paint();
      this.frame.note();
    };
    this.controls.replaceChildren(
      ...["draw", "count", "difference", "temperature"].map(name => this.#slider(name)), this.prior, this.spread,
      ...(traits.length ? [chips("sample-only", words.only, words.only_note, traits.map(knob => [knob.trait.label, knob.key]),
        settings.only.map(knob => knob.key), only)] : []),
      chips("sample-look", words.look, words.look_note, ["drawn", ...LOOKS].map(name => [words[name], name]), settings.look, look),
      make("label", { class: "lp-seed", id: "sample-seed" }, words.seed, make("div", { class: "info-text" }, words.seed_note), this.seed));
  }

  #slider(name) {
    const [low, high] = this.limits[name];
    return slider(`sample-${name}`, this.words[name], { low, high, step: NUMBERS[name], value: this.settings[name] }, value => {
      this.settings[name] = value;
      this.#soon();
    });
  }

  // Where to throw; near a picture only once one was picked.
  #priors() {
    const { words, settings } = this, names = ["mixture", "normal", ...(settings.around ? ["near"] : [])];
    const set = name => {
      settings.prior = name;
      this.spread.hidden = name !== "near";
    };
    set(settings.prior);
    this.prior.replaceChildren(chips("sample-prior", words.prior, words.prior_note, names.map(name => [words[name], name]), settings.prior, name => {
      set(name);
      this.#soon();
    }));
  }

  #near(around) {
    Object.assign(this.settings, { around, prior: "near" });
    this.#priors();
    this.#throw();
  }

  #again() {
    this.seed.value = this.settings.seed = Math.floor(Math.random() * NEW_SEEDS);
    this.#throw();
  }

  #typed() {
    const { value } = this.seed, seed = Number(value), [low, high] = this.limits.seed;
    if (value && Number.isInteger(seed) && low <= seed && seed <= high) {
      this.settings.seed = seed;
      return this.#throw();
    }
    const values = { name: this.words.seed, value: value || "?", low, high: high.toLocaleString("en") };
    this.frame.failed(new Error(fill(this.words.bad_whole, values)));
    this.seed.value = this.settings.seed;
  }

  #soon() {
    this.frame.note();
    this.latest.soon(isOver => this.#drawn(isOver));
  }

  #throw() {
    this.frame.note();
    return this.latest.ask(isOver => this.#drawn(isOver));
  }

  async #drawn(isOver) {
    const settings = { ...this.settings }, { count, draw, seed } = settings;
    const atlas = await this.frame.atlas();
    if (isOver()) return;
    const zs = await thrown(atlas, { ...settings, count: Math.max(count, draw), least: count }, isOver);
    if (isOver()) return;
    if (!zs) throw new Error(this.words.too_rare);
    const found = await bestOf(atlas, zs, settings, isOver);
    if (found) await this.#show({ ...found, atlas, seed }, -1, isOver);
  }

  // Those that were left out, from that one on; with -1 the best again.
  #lookAt(first) {
    const { found } = this.shown;
    this.latest.ask(isOver => this.#show(found, first, isOver));
  }

  async #show(found, first, isOver) {
    const { words } = this, { kept, left, atlas, seed } = found, [, most] = this.limits.count;
    const zs = first < 0 ? kept : left.slice(first, first + most), after = first + zs.length, ways = [];
    const pictures = await this.frame.draw(zs);
    if (isOver()) return;
    if (first < 0 && left.length) ways.push([said(words.left, { count: left.length }), 0]);
    if (first >= 0 && after < left.length) ways.push([words.left_next, after]);
    if (first >= 0) ways.push([words.left_back, -1]);
    const best = left.length ? words.best : zs.length > 1 ? words.title : words.title_one;
    const title = first < 0
      ? said(best, { count: zs.length, draw: zs.length + left.length })
      : said(words.left_title, { first: first + 1, last: after, count: left.length });
    this.shown = { zs, pictures, found, seed, title, ways, story: said(words.story, { latent: zs[0].length }) };
    this.#paint();
    const sketch = await this.frame.sketch();
    if (sketch && !isOver()) this.gallery.tell(this.shown.news = zs.map(z => this.#news(sketch, sketch.novelty(atlas.coordinates(z)))));
  }

  #news(sketch, share) {
    const { words, frame } = this, part = sketch.count < sketch.of ? said(words.part, { count: sketch.count, of: sketch.of }) : "";
    const isCopy = share < frame.choices.sample.copy;
    return `${fill(isCopy ? words.copied : words.new, { share: `${Math.round(100 * share)} %` })} ${part}`.trim();
  }

  // What is shown, in the look that is chosen.
  #paint() {
    if (this.shown) this.gallery.show({ ...this.shown, pictures: this.#finished() });
  }

  #finished() {
    return this.shown.pictures.map(url => finished(url, this.size, this.settings.look));
  }

  // All of them, in their look, as PNGs in one zip.
  async #keep() {
    if (!this.shown) return;
    const { seed } = this.shown, name = `${this.model}-${seed}`;
    try {
      const { downloadZip } = await import(this.frame.libraries.zip);
      const files = await Promise.all(this.#finished().map(async (url, place) => (
        { name: `${String(place).padStart(2, "0")}.png`, input: await png(url), lastModified: new Date() })));
      download(await downloadZip(files).blob(), `${name}.zip`);
    } catch (error) {
      this.frame.failed(error);
    }
  }
}

function said(text, values) {
  return fill(text, Object.fromEntries(Object.entries(values).map(([key, value]) => [key, value.toLocaleString("en")])));
}

async function png(url) {
  const image = Object.assign(new Image(), { src: url });
  await image.decode();
  const canvas = make("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  canvas.getContext("2d").drawImage(image, 0, 0);
  return new Promise(resolve => canvas.toBlob(resolve));
}
