// What is beside the map: a switch and the opacity of each layer, and the classes of a coverage, each to hide or show.
import { ask } from "./ask.js";
import { _ } from "./words.js";

/** Add the controls of the layers behind the map; under the pointer the class or the feature is named. */
export function legend(element, map, shown) {
  const aside = make("div", { className: "legend-of-map" });
  for (const each of [...shown].reverse()) aside.append(layerOf(each));
  const told = make("div", { className: "under-pointer" });
  element.after(aside);
  element.after(told);
  const known = [];
  for (const each of shown.filter(({ legend: address }) => address)) addClasses(aside, each, known);
  map.on("pointermove", ({ pixel, dragging }) => {
    if (!dragging) told.textContent = under(map, pixel, shown, known);
  });
}

function layerOf({ title, layer }) {
  const field = make("fieldset", {});
  const box = make("input", { type: "checkbox", checked: layer.getVisible() });
  box.addEventListener("change", () => layer.setVisible(box.checked));
  const range = make("input", { type: "range", min: 0, max: 1, step: 0.05, value: 1, ariaLabel: _("Opacity of %(title)s", { title }) });
  range.addEventListener("input", () => layer.setOpacity(Number(range.value)));
  const label = make("label", {});
  label.append(box, ` ${title}`);
  field.append(label, range);
  return field;
}

async function addClasses(aside, shown, known) {
  const { legend: address, hide, layer, title } = shown;
  const answer = await ask(address, { headers: { Accept: "application/json" } });
  if (!answer) return;
  const { classes } = await answer.json();
  shown.classes = classes;
  known.push({ layer, colours: new Map(classes.map((each) => [each.colour.toLowerCase(), _(each.name)])) });
  const field = make("fieldset", {});
  field.append(make("legend", { textContent: _("Classes of %(title)s", { title }) }));
  const boxes = classes.map((each) => {
    const box = make("input", { type: "checkbox", checked: true, value: each.value });
    const label = make("label", {});
    const swatch = make("i", { className: "swatch" });
    swatch.style.background = each.colour;
    label.append(box, swatch, ` ${_(each.name)}`);
    field.append(label);
    return box;
  });
  field.addEventListener("change", () => hide(boxes.filter((box) => !box.checked).map((box) => box.value)));
  aside.append(field);
}

function under(map, pixel, shown, known) {
  const names = [];
  const layerFilter = (layer) => shown.some((each) => each.layer === layer);
  for (const feature of map.getFeaturesAtPixel(pixel, { layerFilter })) {
    names.push(feature.get("name") ?? feature.get("title") ?? feature.getId());
  }
  for (const { layer, colours } of known) {
    const data = layer.getVisible() ? layer.getData(pixel) : null;
    if (data?.[3]) names.push(colours.get(`#${[...data.slice(0, 3)].map((each) => each.toString(16).padStart(2, "0")).join("")}`));
  }
  return names.filter(Boolean).slice(0, 3).join(" · ");
}

function make(tag, members) {
  return Object.assign(document.createElement(tag), members);
}
