// Sliders over a short list of stops (so that "how strict" can go 0, 0.1, 0.3, 1, 3, 10), each with its value in words beside it.
// The component's value is an object {name: number}; setting it from outside moves the sliders to the nearest stops.
const dials = [...element.querySelectorAll(".lp-dial")].map(box => {
  const input = box.querySelector("input");
  return { name: box.dataset.name, stops: JSON.parse(box.dataset.stops), input, words: box.querySelector("output") };
});

function paint({ input, stops, words }) {
  const text = stops[input.value][1];
  words.textContent = text;
  input.setAttribute("aria-valuetext", text);
  input.style.setProperty("--done", `${(100 * input.value) / input.max}%`);
}

function take() {
  for (const dial of dials) {
    const wanted = Number(props.value?.[dial.name]);
    if (!Number.isFinite(wanted)) continue;
    const far = dial.stops.map(([number]) => Math.abs(number - wanted));
    dial.input.value = far.indexOf(Math.min(...far));
    paint(dial);
  }
}

for (const dial of dials)
  dial.input.addEventListener("input", () => {
    paint(dial);
    props.value = { ...props.value, [dial.name]: dial.stops[dial.input.value][0] };
  });

take();
watch("value", take);
