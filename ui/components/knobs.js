// The knobs: range sliders with a name, what they read, and a picture of either end. The first few are shown, the others
// wait in folds. Turning one changes the latent; any change of the latent moves them all.
import { fill, make } from "./dom.js";
import { at, read } from "./latent.js";

const SHOWN = 8;
const STEPS = 200; // from end to end
let count = 0; // of rows, for ids that no two share

export class Knobs {
  // pictures(zs): promise of URLs, of none where they cannot be had. chosen(knob): the visitor took one in hand.
  constructor(box, latent, words, { pictures, chosen }) {
    Object.assign(this, { box, latent, words, pictures, chosen });
    this.rows = new Map();
    this.waits = false;
    latent.addEventListener("change", () => this.#soon());
  }

  open(knobs) {
    this.rows = new Map();
    this.current = null;
    this.start = this.latent.start; // the ends are drawn from here
    const ofKind = kind => knobs.filter(knob => knob.kind === kind);
    const first = knobs.slice(0, SHOWN);
    const rest = kind => ofKind(kind).filter(knob => !first.includes(knob));
    const list = make("div", { class: "knobs" });
    const folds = ["named", "direction", "unit"]
      .filter(kind => rest(kind).length)
      .map(kind => this.#fold(this.words[`fold_${kind}`], rest(kind)));
    this.box.replaceChildren(list, ...folds);
    this.#add(list, first);
    if (first.length) this.choose(first[0]);
  }

  // The knob whose strip is shown.
  choose(knob) {
    if (this.current === knob) return;
    for (const row of this.rows.values()) row.box.classList.toggle("on", row.knob === knob);
    this.current = knob;
    this.chosen(knob);
  }

  #fold(title, knobs) {
    const list = make("div", { class: "knobs" });
    const open = event => {
      if (event.target.open && !list.childElementCount) this.#add(list, knobs);
    };
    const summary = make("summary", {}, make("span", {}, title), make("em", {}, String(knobs.length)));
    return make("details", { class: "fold", ontoggle: open }, summary, list);
  }

  async #add(list, knobs) {
    const added = knobs.map(knob => this.#row(knob));
    list.append(...added.map(row => row.box));
    this.#paint();
    const shown = this.start;
    for (let i = 0; i < added.length; i += SHOWN) {
      const part = added.slice(i, i + SHOWN);
      const zs = part.flatMap(({ knob }) => [at(shown, knob, knob.low), at(shown, knob, knob.high)]);
      const urls = await this.pictures(zs);
      if (shown !== this.start) return; // another model has come
      urls.forEach((url, place) => (part[place >> 1].ends[place % 2].src = url));
    }
  }

  #row(knob) {
    const id = `lp-knob-${count++}`;
    const value = make("output", { for: id });
    const input = make("input", {
      id, type: "range", min: knob.low, max: knob.high, step: (knob.high - knob.low) / STEPS,
      oninput: () => {
        this.choose(knob);
        this.latent.turn(knob, Number(input.value));
      },
      onchange: () => this.latent.settle(),
      onfocus: () => this.choose(knob),
      onpointerdown: () => this.choose(knob),
    });
    const ends = ["low", "high"].map(() => make("img", { alt: "", src: EMPTY, width: 44, height: 44 }));
    const buttons = ends.map((image, place) =>
      make("button", {
        class: "end", type: "button", tabindex: -1, // the slider's own keys Home and End do the same
        "aria-label": fill(this.words[place ? "more" : "less"], { name: knob.label }),
        onclick: () => {
          this.choose(knob);
          this.latent.turn(knob, place ? knob.high : knob.low);
          this.latent.settle();
        },
      }, image));
    const name = make("div", { class: "row" }, make("label", { for: id }, knob.label), value);
    const middle = make("div", { class: "mid" }, name, input);
    const box = make("div", { class: "knob", "data-key": knob.key }, buttons[0], middle, buttons[1]);
    input.style.setProperty("--zero", share(knob, 0));
    const row = { knob, box, input, value, ends };
    this.rows.set(knob.key, row);
    return row;
  }

  #soon() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => {
      this.waits = false;
      this.#paint();
    });
  }

  #paint() {
    for (const { knob, input, value } of this.rows.values()) {
      const reading = read(this.latent.z, knob);
      const text = `${reading < -0.05 ? "−" : "+"}${Math.abs(reading).toFixed(1)}`;
      if (value.textContent !== text) {
        value.textContent = text;
        input.setAttribute("aria-valuetext", text);
      }
      if (Math.abs(input.value - reading) > input.step / 2) input.value = reading; // under the hand it stands there already
      const [here, zero] = [share(knob, reading), share(knob, 0)];
      input.style.setProperty("--from", Math.min(here, zero));
      input.style.setProperty("--to", Math.max(here, zero));
    }
  }
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

// Where a value lies between a knob's ends, from 0 to 1.
function share(knob, value) {
  return Math.max(0, Math.min(1, (value - knob.low) / (knob.high - knob.low)));
}
