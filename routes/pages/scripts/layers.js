// The layers of a collection: tiles of a coverage, or the features in view.
import GeoJSON from "ol/format/GeoJSON.js";
import TileLayer from "ol/layer/Tile.js";
import VectorLayer from "ol/layer/Vector.js";
import { transformExtent } from "ol/proj.js";
import VectorSource from "ol/source/Vector.js";
import XYZ from "ol/source/XYZ.js";
import CircleStyle from "ol/style/Circle.js";
import Fill from "ol/style/Fill.js";
import Stroke from "ol/style/Stroke.js";
import Style from "ol/style/Style.js";
import { ask } from "./ask.js";

const TILES = "http://www.opengis.net/def/rel/ogc/1.0/tilesets-map";
const MOST = 500;

/** Return the tiles of a collection's map as {id, title, layer, order, legend, hide}, null where it has none. */
export async function tilesOf(document) {
  const link = document.links.find((each) => each.rel === TILES);
  if (!link) return null;
  const address = link.href.split("?")[0];
  const answer = await ask(`${address}/WebMercatorQuad?f=json`);
  if (!answer) return null;
  const limits = new Map((await answer.json()).tileMatrixSetLimits.map((each) => [Number(each.tileMatrix), each]));
  const dense = devicePixelRatio > 1;
  const addressOf = (hidden) => ([z, x, y]) =>
    isWithin(limits.get(z), x, y)
      ? `${address}/WebMercatorQuad/${z}/${y}/${x}${dense ? "@2x" : ""}?f=png${hidden.length ? `&hide=${hidden}` : ""}`
      : undefined;
  const source = new XYZ({
    tileUrlFunction: addressOf([]),
    tilePixelRatio: dense ? 2 : 1,
    maxZoom: Math.max(...limits.keys()),
    interpolate: false,
    transition: 0,
  });
  const layer = new TileLayer({ source });
  return {
    ...named(document, layer, 1),
    legend: `${address.replace(/\/map\/tiles$/, "")}/styles/default/legend?f=json`,
    hide: (values) => source.setTileUrlFunction(addressOf(values), values.join()),
  };
}

function isWithin(limit, x, y) {
  return limit && x >= limit.minTileCol && x <= limit.maxTileCol && y >= limit.minTileRow && y <= limit.maxTileRow;
}

/** Return a layer of the collection's items in view, not shown at first where there are many; null where it has no items. */
export async function vectorOf(document, map) {
  const link = document.links.find((each) => each.rel === "items" && each.type === "application/geo+json");
  if (!link) return null;
  const address = link.href.split("?")[0];
  const answer = await ask(`${address}?limit=1`, { headers: { Accept: "application/geo+json" } });
  if (!answer) return null;
  const layer = featureLayer();
  layer.setVisible(!((await answer.json()).numberMatched > MOST));
  const load = () => {
    if (!layer.getVisible()) return;
    const box = transformExtent(map.getView().calculateExtent(map.getSize()), "EPSG:3857", "EPSG:4326");
    layer.load(`${address}?limit=${MOST}&bbox=${box.map((each) => each.toFixed(6))}`);
  };
  map.on("moveend", load);
  layer.on("change:visible", load);
  load();
  return { ...named(document, layer, 2), items: address };
}

function named({ id, title }, layer, order) {
  return { id, title: title ?? id, layer, order };
}

/** Return a layer of outlines, whose `load(address)` replaces its features by those of a GeoJSON. */
export function featureLayer() {
  const stroke = new Stroke({ color: "#0b3d91", width: 2 });
  const style = new Style({
    stroke,
    fill: new Fill({ color: "rgba(11, 61, 145, .08)" }),
    image: new CircleStyle({ radius: 5, stroke, fill: new Fill({ color: "#fff" }) }),
  });
  const source = new VectorSource();
  const layer = new VectorLayer({ source, style });
  let asked = new AbortController();
  layer.load = async (address) => {
    asked.abort();
    asked = new AbortController();
    try {
      const answer = await ask(address, { headers: { Accept: "application/geo+json" }, signal: asked.signal });
      if (!answer) return;
      const read = new GeoJSON().readFeatures(await answer.json(), { featureProjection: "EPSG:3857" });
      source.clear(true);
      source.addFeatures(read);
      source.dispatchEvent("featuresloadend");
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
  };
  return layer;
}
