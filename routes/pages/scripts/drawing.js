// An area on the map: drawn, changed, taken back, or given as text.
import GeoJSON from "ol/format/GeoJSON.js";
import WKT from "ol/format/WKT.js";
import { fromExtent } from "ol/geom/Polygon.js";
import Draw, { createBox } from "ol/interaction/Draw.js";
import Modify from "ol/interaction/Modify.js";
import Feature from "ol/Feature.js";
import { featureLayer } from "./layers.js";
import { picking } from "./pick.js";
import { _ } from "./words.js";

const AS_MAP = { dataProjection: "EPSG:4326", featureProjection: "EPSG:3857" };
const DIGITS = { ...AS_MAP, decimals: 7 };

/** Return {tools, write, show, replace, onChange}: its buttons, the area as GeoJSON, from text (`replace` can be undone), and who is told of a new one. */
export function drawing(map, element) {
  const layer = featureLayer();
  const source = layer.getSource();
  map.addLayer(layer);
  layer.setZIndex(10);
  const told = [];
  const past = [];
  const tell = () => told.forEach((each) => each());
  const keep = () => past.push(source.getFeatures().map((each) => each.clone()));
  const change = (features) => {
    source.clear();
    source.addFeatures(features);
    tell();
  };
  const modify = new Modify({ source });
  modify.on("modifystart", keep);
  modify.on("modifyend", tell);
  map.addInteraction(modify);

  let current = null;
  const hint = Object.assign(document.createElement("p"), { className: "hint", ariaLive: "polite" });
  const picks = picking(map);
  const stop = () => {
    map.removeInteraction(current);
    picks.stop();
    picked.setAttribute("aria-pressed", "false");
    hint.textContent = "";
  };
  const draw = (type, geometryFunction) => () => {
    stop();
    current = new Draw({ type, geometryFunction, stopClick: true });
    current.on("drawend", ({ feature }) => {
      map.removeInteraction(current);
      keep();
      change([feature]);
    });
    map.addInteraction(current);
    element.focus();
  };
  const tools = document.createElement("p");
  tools.className = "tools";
  const button = (text, act) => {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: text });
    made.addEventListener("click", act);
    tools.append(made, " ");
    return made;
  };
  button(_("Draw a rectangle"), draw("Circle", createBox()));
  button(_("Draw a polygon"), draw("Polygon"));
  const picked = button(_("Pick from the map"), () => {
    const begins = picked.getAttribute("aria-pressed") !== "true";
    stop();
    if (!begins) return;
    picked.setAttribute("aria-pressed", "true");
    hint.textContent = _("Click what you want, or move the map with the arrow keys and press Enter to pick what is under the cross.");
    picks.start(({ feature, key }) => {
      keep();
      const chosen = source.getFeatures();
      const there = chosen.find((each) => each.get("of") === key);
      change(there ? chosen.filter((each) => each !== there) : [...chosen, copyOf(feature, key)]);
    });
  });
  picked.setAttribute("aria-pressed", "false");
  button(_("Undo"), () => past.length && change(past.pop()));
  button(_("Clear"), () => {
    keep();
    change([]);
  });
  element.before(tools, hint);

  const show = (text) => {
    const features = read(text);
    source.clear();
    source.addFeatures(features);
    if (features.length) map.getView().fit(source.getExtent(), { padding: [40, 40, 40, 40], maxZoom: 16 });
  };
  return {
    tools,
    onChange: (act) => told.push(act),
    write: () => write(source.getFeatures()),
    show,
    replace: (text) => {
      keep();
      show(text);
    },
  };
}

// Only the outline is ordered, not what else the feature has; `of` tells it again.
function copyOf(feature, key) {
  return new Feature({ geometry: feature.getGeometry().clone(), of: key });
}

function write(features) {
  if (!features.length) return "";
  const format = new GeoJSON();
  if (features.length === 1) return format.writeGeometry(features[0].getGeometry(), DIGITS);
  const outlines = features.map((each) => new Feature(each.getGeometry()));
  return format.writeFeatures(outlines, DIGITS);
}

/** Return the features of GeoJSON, WKT or `west, south, east, north`; throws an Error that says what is allowed. */
export function read(text) {
  const trimmed = text.trim();
  if (!trimmed) return [];
  const box = trimmed.split(/[\s,]+/).map(Number);
  try {
    if (box.length === 4 && box.every(Number.isFinite)) {
      return [new Feature(fromExtent(box).transform("EPSG:4326", "EPSG:3857"))];
    }
    if (trimmed.startsWith("{")) return new GeoJSON().readFeatures(JSON.parse(trimmed), AS_MAP);
    return [new WKT().readFeature(trimmed.replace(/^SRID=4326;/i, ""), AS_MAP)];
  } catch {
    throw new Error(_("This is no area. Allowed: GeoJSON, WKT, or west, south, east, north in degrees."));
  }
}
