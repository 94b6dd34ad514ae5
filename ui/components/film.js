// A film of pictures that are all here: one large, a scrubber, a strip of some of them, Play there and back.
// Value: {frames: [url]}; share: "{share} % B".
export default function ({ element, props, watch }) {
  const STRIP = innerWidth < 700 ? 7 : 13, MILLISECONDS = 80;
  const [large, output, range, strip, play] = ["img.large", "output", "input", ".strip", ".play"].map(at => element.querySelector(at));
  const [playWords, pauseWords] = play.dataset.words.split("|");
  let frames = [], timer = 0, step = 1;

  function show(index) {
    range.value = index;
    const share = frames.length > 1 ? index / (frames.length - 1) : 0, words = props.share.replace("{share}", Math.round(100 * share));
    large.src = frames[index];
    output.textContent = words;
    range.setAttribute("aria-valuetext", words);
    range.style.setProperty("--range_progress", `${100 * share}%`);
    const near = Math.round(share * (strip.children.length - 1));
    [...strip.children].forEach((still, place) => still.classList.toggle("now", place === near));
    element.dataset.frame = index;
  }

  function fill() {
    const share = frames.length > 1 ? range.value / (frames.length - 1) : 0.5;
    frames = props.value?.frames ?? [];
    if (!frames.length) {
      stop();
      large.removeAttribute("src");
      return strip.replaceChildren();
    }
    range.max = frames.length - 1;
    const stills = Math.min(STRIP, frames.length);
    strip.replaceChildren(...Array.from({ length: stills }, (_, place) => {
      const index = Math.round((place * (frames.length - 1)) / (stills - 1));
      const still = Object.assign(new Image(), { src: frames[index], alt: "" });
      still.addEventListener("click", () => { stop(); show(index); });
      return still;
    }));
    show(Math.round(share * (frames.length - 1)));
  }

  function stop() {
    clearInterval(timer);
    timer = 0;
    play.textContent = playWords;
  }

  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = pauseWords;
    timer = setInterval(() => {
      if (!element.offsetParent) return stop(); // another tab is in front
      const at = Number(range.value);
      if (at + step < 0 || at + step >= frames.length) step = -step;
      show(at + step);
    }, MILLISECONDS);
  });
  range.addEventListener("input", () => { stop(); show(Number(range.value)); });

  stop();
  fill();
  watch("value", fill);
}
