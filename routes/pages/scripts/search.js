// A search above the map: for a feature or a country by its name, or for coordinates.
import { fromLonLat } from "ol/proj.js";
import { _ } from "./words.js";

const COORDINATES = /^\s*(-?\d+(?:\.\d+)?)\s*°?\s*([NS]?)[\s,;]+(-?\d+(?:\.\d+)?)\s*°?\s*([EW]?)\s*$/i;
const CLOSE = 13;
const MOST = 1000;

/** Add the search before the map; `named` returns a promise of the places, each with `name` and `extent`. */
export function search(map, element, named) {
  const field = Object.assign(document.createElement("input"), { type: "search", ariaLabel: _("Find a place") });
  const id = `places-${document.querySelectorAll("datalist").length}`;
  const list = Object.assign(document.createElement("datalist"), { id });
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: _("Find") });
  const told = Object.assign(document.createElement("span"), { ariaLive: "polite" });
  field.placeholder = _("Place, or latitude, longitude");
  field.setAttribute("list", id);
  let places;
  const load = async () => {
    places ??= named();
    const names = [...new Set((await places).map(({ name }) => name))].sort().slice(0, MOST);
    list.replaceChildren(...names.map((value) => Object.assign(document.createElement("option"), { value })));
  };
  field.addEventListener("focus", load, { once: true });
  const find = async () => {
    told.textContent = "";
    const point = coordinates(field.value);
    if (point) return map.getView().animate({ center: fromLonLat(point), zoom: CLOSE, duration: 0 });
    places ??= named();
    const found = best(await places, field.value);
    if (found) map.getView().fit(found.extent, { padding: [30, 30, 30, 30], maxZoom: 16 });
    else told.textContent = _("Nothing on this map is called “%(name)s”.", { name: field.value });
    return undefined;
  };
  button.addEventListener("click", find);
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    find();
  });
  const row = Object.assign(document.createElement("div"), { className: "tools", role: "search" });
  row.append(field, " ", button, " ", told, list);
  element.before(row);
}

/** Return [longitude, latitude] of `latitude, longitude`, null where the text has none on the Earth. */
export function coordinates(text) {
  const [, north, northSign, east, eastSign] = COORDINATES.exec(text) ?? [];
  if (north === undefined) return null;
  const point = [signed(east, eastSign, "W"), signed(north, northSign, "S")];
  return Math.abs(point[0]) <= 180 && Math.abs(point[1]) <= 90 ? point : null;
}

const signed = (value, sign, negative) => (sign.toUpperCase() === negative ? -1 : 1) * Number(value);
const folded = (text) => text.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase().trim();

/** Return the place of that name in any case and without accents, else the first that begins with it or has it. */
export function best(places, text) {
  const wanted = folded(text);
  if (!wanted) return null;
  const tests = [(name) => name === wanted, (name) => name.startsWith(wanted), (name) => name.includes(wanted)];
  for (const test of tests) {
    const found = places.find(({ name }) => test(folded(name)));
    if (found) return found;
  }
  return null;
}
