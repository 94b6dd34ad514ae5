// The knobs: range sliders with a name, what they read, and a picture of either end. The first few are shown, the others
// wait in folds. Turning one changes the latent; any change of the latent moves them all.
import { calmly, fill, make } from "./dom.js";
import { read } from "./latent.js";

const SHOWN = 8;
const STEPS = 200; // from end to end
const CLEAN = 0.5, MIXED = 1; // steps of another knob, dragged along by one
let count = 0; // of rows, for ids that no two share

export class Knobs {
  // ends(knobs): promise of two URLs a knob, of none where they cannot be had. chosen(knob): the visitor took one in hand.
  // locked(knobs): these are to stay still from now on.
  constructor(box, latent, words, { ends, chosen, locked }) {
    Object.assign(this, { box, latent, words, ends, chosen, locked });
    this.rows = new Map();
    latent.addEventListener("change", calmly(() => this.#paint()));
  }

  open(knobs) {
    this.rows = new Map();
    this.kept = [];
    this.locked([]);
    this.current = null;
    this.start = this.latent.start;
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
      const urls = await this.ends(part.map(({ knob }) => knob));
      if (shown !== this.start) return; // another model has come
      urls.forEach((url, place) => (part[place >> 1].ends[place % 2].src = url));
    }
  }

  #row(knob) {
    const id = `lp-knob-${count++}`;
    const value = make("input", {
      class: "value", "aria-label": fill(this.words.value, { name: knob.label }),
      onchange: () => this.#type(knob, value),
    });
    const input = make("input", {
      id, type: "range", min: knob.low, max: knob.high, step: (knob.high - knob.low) / STEPS,
      oninput: () => {
        this.choose(knob);
        this.latent.turn(knob, Number(input.value));
      },
      onchange: () => this.latent.settle(),
      onfocus: () => this.choose(knob),
      onpointerdown: () => this.choose(knob),
      ondblclick: () => this.#put(knob, read(this.latent.start, knob)),
    });
    const ends = ["low", "high"].map(() => make("img", { alt: "", src: EMPTY, width: 44, height: 44 }));
    const buttons = ends.map((image, place) =>
      make("button", {
        class: "end", type: "button", tabindex: -1, // the slider's own keys Home and End do the same
        "aria-label": fill(this.words[place ? "more" : "less"], { name: knob.label }),
        onclick: () => this.#put(knob, place ? knob.high : knob.low),
      }, image));
    const name = make("div", { class: "row" }, make("label", { for: id }, knob.label), this.#dot(knob), value, this.#lock(knob));
    const middle = make("div", { class: "mid" }, name, input);
    const box = make("div", { class: "knob", "data-key": knob.key }, buttons[0], middle, buttons[1]);
    input.style.setProperty("--zero", share(knob, 0));
    const row = { knob, box, input, value, ends };
    this.rows.set(knob.key, row);
    return row;
  }

  #put(knob, value) {
    this.choose(knob);
    this.latent.turn(knob, value);
    this.latent.settle();
  }

  #type(knob, field) {
    const typed = Number(field.value.trim().replace("−", "-").replace(",", "."));
    if (field.value.trim() && Number.isFinite(typed)) this.#put(knob, Math.max(knob.low, Math.min(knob.high, typed)));
    field.value = worded(read(this.latent.z, knob)); // also where it was no number
  }

  // How much one step drags along what it is dragging most.
  #dot({ drags }) {
    if (!drags) return null;
    const [name, amount] = drags, text = fill(this.words.drags, { name, amount: amount.toFixed(1) });
    return make("i", { class: "drags", "data-level": amount < CLEAN ? 0 : amount < MIXED ? 1 : 2, role: "img", "aria-label": text, title: text });
  }

  #lock(knob) {
    if (knob.kind !== "named") return null;
    const button = make("button", {
      class: "lock", type: "button", "aria-pressed": "false", "aria-label": fill(this.words.lock, { name: knob.label }),
      title: fill(this.words.lock, { name: knob.label }),
      onclick: () => {
        const isKept = this.kept.includes(knob);
        this.kept = isKept ? this.kept.filter(other => other !== knob) : [...this.kept, knob];
        button.setAttribute("aria-pressed", !isKept);
        this.locked(this.kept);
      },
    });
    return button;
  }

  #paint() {
    for (const { knob, input, value } of this.rows.values()) {
      const reading = read(this.latent.z, knob);
      const text = worded(reading);
      if (value.value !== text && value !== document.activeElement) value.value = text;
      input.setAttribute("aria-valuetext", text);
      if (Math.abs(input.value - reading) > input.step / 2) input.value = reading; // under the hand it stands there already
      const [here, zero] = [share(knob, reading), share(knob, 0)];
      input.style.setProperty("--from", Math.min(here, zero));
      input.style.setProperty("--to", Math.max(here, zero));
    }
  }
}

const EMPTY = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw==";

function worded(reading) {
  return `${reading < -0.05 ? "−" : "+"}${Math.abs(reading).toFixed(1)}`;
}

// Where a value lies between a knob's ends, from 0 to 1.
function share(knob, value) {
  return Math.max(0, Math.min(1, (value - knob.low) / (knob.high - knob.low)));
}
