// Settings, in the classes that Gradio's own have on the page with a server, so in the same look.
import { make } from "./dom.js";

// The multiple of a step, of hundredths or more, that is nearest.
export function stepped(value, step) {
  return Number((Math.round(value / step) * step).toFixed(2));
}

// A slider with its value as a number that can be typed. changed(value): also while it moves.
export function slider(id, label, { low, high, step, value }, changed) {
  const limits = { min: low, max: high, step };
  const number = make("input", { type: "number", "aria-label": label, ...limits });
  const range = make("input", { type: "range", "aria-label": label, ...limits });
  const put = given => {
    const found = Math.min(high, Math.max(low, stepped(given, step)));
    if (!Number.isFinite(found)) return put(value);
    number.value = found;
    range.value = found;
    range.style.setProperty("--range_progress", `${(100 * (found - low)) / (high - low)}%`);
    value = found;
    return found;
  };
  range.oninput = () => changed(put(Number(range.value)));
  number.onchange = () => changed(put(Number(number.value || NaN)));
  put(value);
  const head = make("div", { class: "head" }, make("span", {}, label), number);
  return make("div", { class: "lp-slider", id }, make("div", { class: "wrap" }, head), range);
}

// Chips to choose from, one of them, or any where `chosen` is a list. options: [[label, value]]. changed(chosen)
export function chips(id, label, note, options, chosen, changed) {
  const isMany = Array.isArray(chosen);
  const group = make("fieldset", { class: "lp-chips", id }, make("legend", {}, label), note && make("div", { class: "info-text" }, note));
  const boxes = options.map(([text, value]) => {
    const input = make("input", { type: isMany ? "checkbox" : "radio", name: id, value });
    input.checked = isMany ? chosen.includes(value) : value === chosen;
    const box = make("label", {}, input, make("span", {}, text));
    input.onchange = () => {
      mark();
      changed(isMany ? boxes.filter(each => each.input.checked).map(each => each.value) : value);
    };
    return { input, box, value };
  });
  const mark = () => boxes.forEach(({ input, box }) => box.classList.toggle("selected", input.checked));
  mark();
  group.append(make("div", { class: "wrap" }, ...boxes.map(({ box }) => box)));
  return group;
}
