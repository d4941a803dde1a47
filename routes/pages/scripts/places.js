// The places of a map by name: the features of its collections, and the countries of the base map.
import GeoJSON from "ol/format/GeoJSON.js";
import { ask } from "./ask.js";

const MOST = 500;

/** Return the places as {name, extent}; features come before countries, and collections with more than 500 are left out. */
export async function placesOf(shown, base) {
  const lists = await Promise.all(shown.filter(({ items }) => items).map(({ items }) => featuresOf(items)));
  return [...lists.flat(), ...base.getSource().getFeatures()].map(place).filter(Boolean);
}

async function featuresOf(address) {
  const answer = await ask(`${address}?limit=${MOST}`, { headers: { Accept: "application/geo+json" } });
  if (!answer) return [];
  const read = await answer.json();
  if (read.numberMatched > MOST) return [];
  return new GeoJSON().readFeatures(read, { featureProjection: "EPSG:3857" });
}

function place(feature) {
  const name = feature.get("title") ?? feature.get("name");
  const extent = feature.getGeometry()?.getExtent();
  return name && extent?.every(Number.isFinite) ? { name: String(name), extent } : null;
}
