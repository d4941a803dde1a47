// A map of collections, or of the features at one address.
import GeoJSON from "ol/format/GeoJSON.js";
import Map from "ol/Map.js";
import View from "ol/View.js";
import FullScreen from "ol/control/FullScreen.js";
import MousePosition from "ol/control/MousePosition.js";
import ScaleLine from "ol/control/ScaleLine.js";
import { defaults as controls } from "ol/control/defaults.js";
import { disableCoordinateWarning, transformExtent } from "ol/proj.js";
import { ask } from "./ask.js";
import { baseLayer } from "./base.js";
import { featureLayer, tilesOf, vectorOf } from "./layers.js";
import { legend } from "./legend.js";
import { keepView } from "./view.js";
import { _, LANGUAGE } from "./words.js";

disableCoordinateWarning();
const ZOOM = { zoomInLabel: sign("+"), zoomOutLabel: sign("\u2212"), zoomInTipLabel: _("Zoom in"), zoomOutTipLabel: _("Zoom out") };
const WORLD = [-180, -85, 180, 85];

/** Make the map in the element; its attributes say of which server and collections or features. */
export function landMap(element) {
  const { server, features } = element.dataset;
  const map = new Map({
    target: element,
    layers: [baseLayer(`${server}/static/base.json`)],
    view: new View({ maxZoom: 20, extent: transformExtent(WORLD, "EPSG:4326", "EPSG:3857"), showFullExtent: true }),
    controls: controls({ attribution: false, zoomOptions: ZOOM }).extend([
      new ScaleLine(),
      new FullScreen({ tipLabel: _("Fill the screen"), label: sign("\u2922"), labelActive: sign("\u00d7") }),
      new MousePosition({ coordinateFormat: written, projection: "EPSG:4326", placeholder: "" }),
    ]),
  });
  element.tabIndex = 0;
  element.role = "group";
  element.ariaLabel = _("Map");
  showBox(map, boxOf(element) ?? [-25, 34, 45, 71]);
  const goes = keepView(map);
  map.set("shown", []);
  map.set("loaded", features ? showFeatures(map, features) : showCollections(map, element, goes));
  return map;
}

/** Show the whole of a box [west, south, east, north] in degrees. */
export function showBox(map, box) {
  const [, south, , north] = box;
  const kept = [box[0], Math.max(south, WORLD[1]), box[2], Math.min(north, WORLD[3])];
  map.getView().fit(transformExtent(kept, "EPSG:4326", "EPSG:3857"), { padding: [20, 20, 20, 20], maxZoom: 16, size: map.getSize() });
}

// A sign that a button shows; its name is its title.
function sign(textContent) {
  return Object.assign(document.createElement("span"), { textContent, ariaHidden: "true" });
}

function boxOf(element) {
  const box = JSON.parse(element.dataset.bbox ?? "null");
  return box && box.length === 6 ? [box[0], box[1], box[3], box[4]] : box;
}

function written([longitude, latitude]) {
  return `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`;
}

function showFeatures(map, address) {
  const layer = featureLayer();
  map.addLayer(layer);
  layer.getSource().once("featuresloadend", () => {
    const extent = layer.getSource().getExtent();
    if (extent.every(Number.isFinite)) map.getView().fit(extent, { padding: [30, 30, 30, 30], maxZoom: 16 });
  });
  layer.load(address);
}

async function showCollections(map, element, goes) {
  const wanted = JSON.parse(element.dataset.collections);
  const documents = await Promise.all(wanted.map((id) => documentOf(element.dataset.server, id)));
  const layers = documents.filter(Boolean).map(async (each) => (await tilesOf(each)) ?? (await vectorOf(each, map)));
  const shown = (await Promise.all(layers)).filter(Boolean);
  shown.sort((one, other) => one.order - other.order).forEach(({ layer }) => map.addLayer(layer));
  map.set("shown", shown);
  legend(element, map, shown);
  if (element.dataset.outline) return showOutline(map, element.dataset.outline, goes);
  if (!goes && !element.dataset.bbox) {
    const tiled = shown.filter(({ order }) => order === 1).map(({ id }) => id);
    const found = documents.filter((each) => each && (!tiled.length || tiled.includes(each.id)));
    const boxes = found.map((each) => each.extent?.spatial?.bbox[0]).filter(Boolean);
    if (boxes.length) showBox(map, around(boxes));
  }
  return undefined;
}

// The outline of an order, in GeoJSON, over the layers.
function showOutline(map, text, goes) {
  const layer = featureLayer();
  layer.setZIndex(10);
  layer.getSource().addFeatures(new GeoJSON().readFeatures(JSON.parse(text), { featureProjection: "EPSG:3857" }));
  map.addLayer(layer);
  if (!goes) map.getView().fit(layer.getSource().getExtent(), { padding: [30, 30, 30, 30], maxZoom: 16 });
}

async function documentOf(server, id) {
  const path = id.split("/").map(encodeURIComponent).join("/");
  const answer = await ask(`${server}/collections/${path}`, { headers: { Accept: "application/json", "Accept-Language": LANGUAGE } });
  return answer && answer.json();
}

function around(boxes) {
  const half = (box) => box.length / 2;
  return [
    Math.min(...boxes.map((box) => box[0])),
    Math.min(...boxes.map((box) => box[1])),
    Math.max(...boxes.map((box) => box[half(box)])),
    Math.max(...boxes.map((box) => box[half(box) + 1])),
  ];
}
