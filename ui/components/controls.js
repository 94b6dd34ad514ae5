// Settings as Gradio's page has them, for a page without Gradio: the same classes, so the same look.
import { make } from "./dom.js";

// A slider with its value as a number that can be typed. changed(value): also while it moves.
export function slider(label, { low, high, step, value }, changed) {
  const limits = { min: low, max: high, step };
  const number = make("input", { type: "number", "aria-label": label, ...limits });
  const range = make("input", { type: "range", "aria-label": label, ...limits });
  const put = given => {
    const found = Math.min(high, Math.max(low, Math.round(given / step) * step));
    if (!Number.isFinite(found)) return put(value);
    number.value = Number(found.toFixed(2));
    range.value = found;
    range.style.setProperty("--range_progress", `${(100 * (found - low)) / (high - low)}%`);
    value = found;
    return found;
  };
  range.oninput = () => changed(put(Number(range.value)));
  number.onchange = () => changed(put(Number(number.value || NaN)));
  put(value);
  return make("div", { class: "lp-slider" }, make("div", { class: "wrap" }, make("div", { class: "head" }, make("span", {}, label), number)), range);
}

// Chips to choose from, one of them, or any where `chosen` is a list. options: [[label, value]]. changed(chosen)
export function chips(label, note, options, chosen, changed) {
  const isMany = Array.isArray(chosen);
  const group = make("fieldset", { class: "lp-chips" }, make("legend", {}, label), note && make("div", { class: "info-text" }, note));
  const name = `lp-chips-${label}`;
  const boxes = options.map(([text, value]) => {
    const input = make("input", { type: isMany ? "checkbox" : "radio", name, value });
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

// Runs a module that gr.HTML would mount, without Gradio -> its props; setting one tells the module.
// events: {name: what to do with the event's data}.
export function mounted(mount, element, props, events = {}) {
  const watchers = {};
  const given = new Proxy(props, {
    set(target, name, value) {
      target[name] = value;
      watchers[name]?.();
      return true;
    },
  });
  mount({ element, props: given, trigger: (name, data) => events[name]?.(data), watch: (name, act) => (watchers[name] = act) });
  return given;
}
