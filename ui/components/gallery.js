// Thrown pictures as tiles, the chosen one large beside its buttons. Value: {pictures: [url], title, story, news: [text] of each
// picture or empty, ways: [[label, index]] to other pictures of the throw}.
export default function ({ element, props, trigger, watch }) {
  const [title, ways, tiles, large, story] = ["h3 span", "h3 b", ".tiles", ".closer img", ".closer p"].map(at => element.querySelector(at));
  let chosen = 0;

  function choose(index) {
    const { story: words, news = [] } = props.value;
    chosen = index;
    [...tiles.children].forEach((tile, place) => tile.setAttribute("aria-pressed", place === index));
    large.src = tiles.children[index].firstChild.src;
    story.textContent = [words, news[index]].filter(Boolean).join(" ");
  }

  function fill() {
    const { pictures = [], title: heading, ways: others = [] } = props.value ?? {};
    title.textContent = heading;
    ways.replaceChildren(...others.map(([label, index]) => {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: label });
      button.addEventListener("click", () => trigger("left", { index }));
      return button;
    }));
    while (tiles.children.length > pictures.length) tiles.lastChild.remove();
    while (tiles.children.length < pictures.length) {
      const tile = document.createElement("button");
      tile.append(new Image());
      tile.firstChild.alt = `${tiles.children.length + 1}`;
      tiles.append(tile);
    }
    tiles.style.setProperty("--columns", Math.max(4, Math.ceil(Math.sqrt(2 * pictures.length))));
    pictures.forEach((url, place) => (tiles.children[place].firstChild.src = url));
    element.querySelector(".closer").hidden = !pictures.length;
    if (pictures.length) choose(chosen < pictures.length ? chosen : 0);
  }

  tiles.addEventListener("click", event => {
    const tile = event.target.closest("button");
    if (tile) choose([...tiles.children].indexOf(tile));
  });
  for (const button of element.querySelectorAll("[data-event]"))
    button.addEventListener("click", () => trigger(button.dataset.event, { index: chosen })); // "explore", "morph" or "around"

  fill();
  watch("value", fill);
}
