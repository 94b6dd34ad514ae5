// Two knobs against each other: a table of pictures, as one picture to keep.
import { download, fill, make } from "./dom.js";

const SIDE = 7; // pictures each way
const CELL = 96; // pixels of one

export class Grid {
  // draw(zs): promise of pictures to paint, bitmaps or images.
  constructor(words, draw) {
    Object.assign(this, { words, draw });
    this.canvas = make("canvas", { width: SIDE * CELL, height: SIDE * CELL, role: "img", "aria-label": words.grid });
    this.title = make("h2");
    this.element = make("dialog", { class: "lp-card lp-draw lp-grid", "aria-label": words.grid, onclose: () => (this.turn = null) },
      this.title, this.canvas,
      make("div", { class: "btns" },
        make("button", { class: "lp-btn main", type: "button", onclick: () => this.canvas.toBlob(png => download(png, "grid.png")) }, words.keep),
        make("button", { class: "lp-btn", type: "button", onclick: () => this.close() }, words.close)));
  }

  // pad: whose two knobs, and the way to where both have given values.
  async open(pad) {
    const turn = (this.turn = {}), [across, up] = pad.pair, brush = this.canvas.getContext("2d");
    this.title.textContent = fill(this.words.grid_title, { across: across.label, up: up.label });
    this.canvas.setAttribute("aria-label", this.title.textContent);
    brush.clearRect(0, 0, this.canvas.width, this.canvas.height);
    brush.imageSmoothingQuality = "high";
    this.element.showModal();
    const value = (knob, step) => knob.low + ((knob.high - knob.low) * step) / (SIDE - 1);
    const rows = Array.from({ length: SIDE }, (_, row) =>
      Array.from({ length: SIDE }, (_, column) => pad.at([value(across, column), value(up, SIDE - 1 - row)])));
    for (const [row, zs] of rows.entries()) {
      const pictures = await this.draw(zs);
      if (turn === this.turn) pictures.forEach((picture, column) => brush.drawImage(picture, column * CELL, row * CELL, CELL, CELL));
      pictures.forEach(picture => picture.close?.());
      if (turn !== this.turn) return;
    }
  }

  close() {
    this.element.close();
  }
}
