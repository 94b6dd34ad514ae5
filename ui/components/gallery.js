// Thrown pictures as tiles, the chosen one large beside its buttons.
import { make } from "./dom.js";

export class Gallery {
  // act: {explore, morph, around}(index) of the picture that is large; left(index): to other pictures of the throw.
  constructor(words, { left, ...act }) {
    Object.assign(this, { left, chosen: 0 });
    this.title = make("span");
    this.ways = make("b");
    this.tiles = make("div", { class: "tiles" });
    this.large = make("img", { alt: "" });
    this.words = make("p");
    this.closer = make("div", { class: "closer", hidden: true }, this.large,
      make("div", {}, this.words, ...Object.entries(act).map(([name, go]) =>
        make("button", { class: "lp-btn", type: "button", "data-event": name, onclick: () => go(this.chosen) }, words[name]))));
    this.element = make("div", { class: "lp-gallery", id: "sample-gallery" },
      make("h3", {}, this.title, this.ways, make("em", {}, words.hint)), this.tiles, this.closer);
    this.tiles.addEventListener("click", event => {
      const tile = event.target.closest("button");
      if (tile) this.#choose([...this.tiles.children].indexOf(tile));
    });
  }

  // pictures: URLs; news: a text of each or none; ways: [[label, index]] to other pictures of the throw.
  show({ pictures = [], title = "", story = "", news = [], ways = [] }) {
    const { tiles } = this;
    Object.assign(this, { story, news });
    this.title.textContent = title;
    this.ways.replaceChildren(...ways.map(([label, index]) =>
      make("button", { type: "button", onclick: () => this.left(index) }, label)));
    while (tiles.children.length > pictures.length) tiles.lastChild.remove();
    while (tiles.children.length < pictures.length)
      tiles.append(make("button", { type: "button" }, make("img", { alt: `${tiles.children.length + 1}` })));
    tiles.style.setProperty("--columns", Math.max(4, Math.ceil(Math.sqrt(2 * pictures.length))));
    pictures.forEach((url, place) => (tiles.children[place].firstChild.src = url));
    this.closer.hidden = !pictures.length;
    if (pictures.length) this.#choose(this.chosen < pictures.length ? this.chosen : 0);
  }

  // What came later of the pictures that are shown.
  tell(news) {
    this.news = news;
    this.#choose(this.chosen);
  }

  #choose(index) {
    this.chosen = index;
    [...this.tiles.children].forEach((tile, place) => tile.setAttribute("aria-pressed", place === index));
    this.large.src = this.tiles.children[index].firstChild.src;
    this.words.textContent = [this.story, this.news[index]].filter(Boolean).join(" ");
  }
}
