// The row of models. The component's value is the id of the chosen one.
function mark() {
  for (const button of element.querySelectorAll("button")) button.setAttribute("aria-pressed", button.dataset.id === props.value);
}
element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button || button.dataset.id === props.value) return;
  props.value = button.dataset.id;
  mark();
});
mark();
watch(["value", "entries"], mark);
