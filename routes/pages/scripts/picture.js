// The map as a picture: what is seen, with the legend of its classes, a scale and whose data it shows.
import { getPointResolution } from "ol/proj.js";
import { _ } from "./words.js";

const LINE = 20;
const MARGIN = 12;
const BAR = 120;

/** Return a button that saves the map in the element as a PNG. */
export function pictureButton(map) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: _("Save as picture") });
  button.addEventListener("click", () => {
    map.once("rendercomplete", async () => {
      const blob = await new Promise((done) => drawn(map).toBlob(done));
      const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: "map.png" });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    });
    map.render();
  });
  return button;
}

function drawn(map) {
  const [width, height] = map.getSize();
  const shown = map.get("shown").filter(({ layer }) => layer.getVisible());
  const classes = shown.flatMap((each) => each.classes ?? []);
  const columns = Math.max(1, Math.floor(width / 260));
  const below = MARGIN * 2 + LINE * (Math.ceil(classes.length / columns) + 2);
  const canvas = Object.assign(document.createElement("canvas"), { width, height: height + below });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height + below);
  for (const layer of map.getViewport().querySelectorAll(".ol-layer canvas")) drawLayer(context, layer);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.globalAlpha = 1;
  context.font = "13px system-ui, sans-serif";
  context.textBaseline = "middle";
  classes.forEach(({ colour, name }, index) => {
    const x = MARGIN + (index % columns) * 260;
    const y = height + MARGIN + Math.floor(index / columns) * LINE;
    context.fillStyle = colour;
    context.fillRect(x, y + 3, 14, 14);
    context.strokeRect(x, y + 3, 14, 14);
    write(context, _(name), x + LINE, y + LINE / 2, 230);
  });
  const last = height + below - MARGIN - LINE;
  drawScale(context, map, MARGIN, last - LINE / 2);
  write(context, _("%(layers)s. Base map: Natural Earth.", { layers: shown.map(({ title }) => title).join(", ") }), MARGIN, last + LINE / 2, width - 2 * MARGIN);
  return canvas;
}

function drawLayer(context, layer) {
  if (!layer.width) return;
  context.globalAlpha = Number(layer.parentNode.style.opacity || 1);
  const numbers = /^matrix\(([^(]*)\)$/.exec(layer.style.transform)?.[1].split(",").map(Number);
  context.setTransform(...(numbers ?? [parseFloat(layer.style.width) / layer.width, 0, 0, parseFloat(layer.style.height) / layer.height, 0, 0]));
  context.drawImage(layer, 0, 0);
}

function drawScale(context, map, x, y) {
  const view = map.getView();
  const metres = getPointResolution(view.getProjection(), view.getResolution(), view.getCenter());
  const length = rounded(metres * BAR);
  context.fillStyle = "#000";
  context.fillRect(x, y + 3, length / metres, 3);
  write(context, length < 1000 ? `${length} m` : `${length / 1000} km`, x + length / metres + 8, y + 4, 100);
}

// The largest of 1, 2, 5 times a power of ten that is not above the number.
export function rounded(number) {
  const power = 10 ** Math.floor(Math.log10(number));
  return [5, 2, 1].find((each) => each * power <= number) * power;
}

function write(context, text, x, y, width) {
  context.fillStyle = "#000";
  context.fillText(text, x, y, width);
}
