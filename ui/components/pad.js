// The map: a dot to drag where two knobs cross. Behind it how dense the data lie; around it how sure the encoder is.
import { dot } from "./atlas.js";
import { calmly, make } from "./dom.js";
import { read } from "./latent.js";

const FINE = 56; // cells of the density's grid, each way
const INK = [138, 128, 152]; // of the density, on light and on dark
const STEPS = 40; // of an arrow key, from side to side

export class Pad {
  constructor(latent, words) {
    Object.assign(this, { latent, words });
    this.ground = make("canvas", { width: FINE, height: FINE });
    this.ring = make("i", { class: "ring", hidden: true });
    this.thumb = make("div", {
      class: "dot", role: "slider", tabindex: 0, "aria-label": words.pad_dot, "aria-valuemin": 0, "aria-valuemax": 100,
      onkeydown: event => this.#key(event),
    });
    this.others = make("div", { class: "others" });
    this.field = make("div", { class: "field" }, this.ground, this.others, this.ring, this.thumb);
    this.choices = ["across", "up"].map(way =>
      make("select", { "aria-label": words[`pad_${way}`], onchange: () => this.#choose() }));
    this.element = make("div", {}, this.field,
      make("div", { class: "axes" }, ...this.choices.map((choice, way) => make("label", {}, way ? "↑ " : "→ ", choice))));
    for (const kind of ["pointerdown", "pointermove"]) this.field.addEventListener(kind, event => this.#drag(event));
    for (const kind of ["pointerup", "pointercancel"]) this.field.addEventListener(kind, () => this.latent.settle());
    this.soon = calmly(() => this.pair && this.#paint());
    latent.addEventListener("change", this.soon);
  }

  // seen: [{url, z}], pictures to show where they lie.
  open(knobs, seen) {
    this.seen = seen;
    this.others.replaceChildren(...seen.map(({ url }) => make("img", { src: url, alt: "", width: 26, height: 26, draggable: "false" })));
    this.knobs = knobs.filter(knob => knob.kind !== "unit");
    if (this.knobs.length < 2) this.knobs = knobs;
    const first = this.knobs.findIndex(knob => knob.kind === "direction");
    this.choices.forEach((choice, way) => {
      choice.replaceChildren(...this.knobs.map(({ key, label }) => make("option", { value: key }, label)));
      choice.selectedIndex = Math.min(Math.max(first, 0) + way, this.knobs.length - 1);
    });
    this.sure(null);
    this.know(null);
    this.#choose();
  }

  // atlas: or null; what the data's density is drawn from.
  know(atlas) {
    this.atlas = atlas;
    this.#paintGround();
  }

  // The encoder's standard deviations, or null where the latent is nobody's picture.
  sure(std) {
    this.std = std;
    this.soon();
  }

  #choose() {
    this.pair = this.choices.map(choice => this.knobs[choice.selectedIndex]);
    this.seen.forEach(({ z }, place) => this.#put(this.others.children[place], z));
    this.#paintGround();
    this.soon();
  }

  // The latent with both knobs at these values, although each may drag the other along.
  at(values) {
    const [across, up] = this.pair, { z } = this.latent;
    if (across === up) return this.latent.at(across, values[0]);
    const [right, upward] = this.pair.map(knob => this.latent.steer(knob));
    if (!right || !upward) return z;
    const [a, b] = [dot(across.probe, right), dot(across.probe, upward)], [c, d] = [dot(up.probe, right), dot(up.probe, upward)];
    const area = a * d - b * c;
    if (Math.abs(area) < 0.05) return this.latent.at(across, values[0]); // they are nearly the same
    const [x, y] = values.map((value, way) => value - read(z, this.pair[way]));
    const [first, second] = [(d * x - b * y) / area, (a * y - c * x) / area];
    return z.map((value, i) => value + first * right[i] + second * upward[i]);
  }

  #drag(event) {
    if (event.type === "pointerdown") this.field.setPointerCapture(event.pointerId);
    if (!this.field.hasPointerCapture(event.pointerId)) return;
    event.preventDefault();
    const box = this.field.getBoundingClientRect();
    this.#go([(event.clientX - box.left) / box.width, 1 - (event.clientY - box.top) / box.height]);
  }

  #key(event) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    this.#go(this.#shares().map((share, i) => share + way[i] / STEPS));
    this.latent.settle();
  }

  #go(shares) {
    this.latent.drift(this.at(shares.map((share, way) => {
      const { low, high } = this.pair[way];
      return low + Math.max(0, Math.min(1, share)) * (high - low);
    })));
  }

  // Where a latent lies, in shares of the sides from the lower left.
  #shares(z = this.latent.z) {
    return this.pair.map(knob => Math.max(0, Math.min(1, (read(z, knob) - knob.low) / (knob.high - knob.low))));
  }

  #put(mark, z) {
    const [x, y] = this.#shares(z);
    [mark.style.left, mark.style.top] = [`${100 * x}%`, `${100 * (1 - y)}%`];
  }

  #paint() {
    for (const mark of [this.thumb, this.ring]) this.#put(mark, this.latent.z);
    const places = this.pair.map(knob => `${knob.label} ${read(this.latent.z, knob).toFixed(1)}`);
    this.thumb.setAttribute("aria-valuetext", places.join(", "));
    this.thumb.setAttribute("aria-valuenow", Math.round(100 * this.#shares()[0]));
    this.ring.hidden = !this.std;
    if (!this.std) return;
    [this.ring.style.width, this.ring.style.height] = this.pair.map(({ probe, low, high }) =>
      `${200 * Math.hypot(...this.std.map((value, i) => value * probe[i])) / (high - low)}%`);
  }

  // The mixture seen along the two axes: of each part a Gaussian in the plane.
  #paintGround() {
    const brush = this.ground.getContext("2d");
    brush.clearRect(0, 0, FINE, FINE);
    if (!this.atlas || !this.pair) return;
    const [across, up] = this.pair, { latent } = this.atlas;
    const flat = this.atlas.parts.map(({ weight, mean, factor }) => {
      const [a, b] = this.pair.map(({ probe }) => {
        const seen = new Float64Array(latent);
        for (let i = 0; i < latent; i++) for (let j = 0; j <= i; j++) seen[j] += factor[i * latent + j] * probe[i];
        return seen;
      });
      const [xx, xy, yy] = [dot(a, a), dot(a, b), dot(b, b)], area = Math.max(xx * yy - xy * xy, 1e-9);
      return { x: read(mean, across), y: read(mean, up), xx, xy, yy, area, height: weight / Math.sqrt(area) };
    });
    const heights = Array.from({ length: FINE * FINE }, (_, place) => {
      const x = across.low + ((place % FINE) + 0.5) / FINE * (across.high - across.low);
      const y = up.high - (Math.floor(place / FINE) + 0.5) / FINE * (up.high - up.low);
      return flat.reduce((sum, part) => {
        const [h, v] = [x - part.x, y - part.y];
        return sum + part.height * Math.exp(-(part.yy * h * h - 2 * part.xy * h * v + part.xx * v * v) / (2 * part.area));
      }, 0);
    });
    const most = Math.max(...heights), image = brush.createImageData(FINE, FINE);
    heights.forEach((height, place) => image.data.set([...INK, 170 * Math.sqrt(height / most)], 4 * place));
    brush.putImageData(image, 0, 0);
  }
}
