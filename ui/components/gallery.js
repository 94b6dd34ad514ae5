// Thrown pictures as tiles, the chosen one large beside its buttons. Value: {pictures: [url], title, story}.
export default function ({ element, props, trigger, watch }) {
  const [title, tiles, large, story] = ["h3 span", ".tiles", ".closer img", ".closer p"].map(at => element.querySelector(at));
  let chosen = 0;

  function choose(index) {
    chosen = index;
    [...tiles.children].forEach((tile, place) => tile.setAttribute("aria-pressed", place === index));
    large.src = tiles.children[index].firstChild.src;
  }

  function fill() {
    const { pictures = [], title: heading, story: words } = props.value ?? {};
    title.textContent = heading;
    story.textContent = words;
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
    button.addEventListener("click", () => trigger(button.dataset.event, { index: chosen })); // "explore" or "morph"

  fill();
  watch("value", fill);
}
