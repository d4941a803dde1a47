// The form of an order: the map fills in the area, an estimate tells what it would be, and a refusal loses nothing.
import { _, LANGUAGE, number, size as sizeOf } from "./words.js";

const PAUSE = 600;
const AS_TEXT = /\.(wkt|txt)$/i;
const FILES = ".geojson,.json,.gpkg,.kml,.kmz,.zip,.wkt,.txt";
const UNREACHABLE = _("The server cannot be reached. Nothing is lost: try again.");

/** Join the form and the drawing; `data-estimate` of the form is the address that estimates. */
export function orderForm(form, area) {
  const field = form.querySelector("textarea[data-area]");
  const told = form.querySelector("[role=status]");
  const tell = (text, wrong = false) => {
    told.textContent = text;
    told.classList.toggle("broken", wrong);
  };
  let last = 0; // an answer to what was asked before something else is not shown
  const asked = () => {
    const mine = ++last;
    return (text, wrong) => {
      if (mine === last) tell(text, wrong);
      return mine === last;
    };
  };
  const estimate = later(() => showEstimate(form, field, asked()));
  area.onChange(() => {
    field.value = area.write();
    estimate();
  });
  field.addEventListener("input", () => {
    try {
      area.show(field.value);
      estimate();
    } catch (error) {
      tell(error.message, true);
    }
  });
  form.addEventListener("change", estimate);
  const { label, note } = upload(async (file) => {
    const said = asked();
    note.textContent = "";
    try {
      const { text, notes } = await areaOf(file, form, said);
      area.replace(text);
      field.value = text;
      note.textContent = notes.join(" ");
      estimate();
    } catch (error) {
      asked()(error.message, true);
    }
  });
  area.tools.append(label, note);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form, tell);
  });
  if (field.value) area.show(field.value);
}

async function showEstimate(form, field, tell) {
  const chart = form.querySelector(".chart");
  chart.replaceChildren();
  if (!form.dataset.estimate || !field.value.trim()) return tell("");
  tell(_("Estimating …"));
  const { ok, told } = await post(form.dataset.estimate, form);
  if (!ok) return tell(told.detail, true);
  if (!told.accepted) return tell(told.reason, true);
  if (tell(inWords(told))) chart.replaceChildren(...bars(told.pixels ?? told.polygons));
  return true;
}

function inWords({ area, pixels, polygons, size, time }) {
  const parts = [`${number(area.km2)} km²`];
  if (pixels) parts.push(_("%(count)s pixels", { count: number(pixels.total) }));
  if (polygons?.exact) parts.push(_("%(count)s polygons", { count: number(polygons.total) }));
  else if (polygons) parts.push(_("about %(count)s polygons", { count: number(polygons.total) }));
  if (size) parts.push(_("about %(size)s", { size: sizeOf(size.expected) }));
  if (time) parts.push(_("ready in about %(seconds)s s", { seconds: number(Math.max(1, Math.ceil(time.expected))) }));
  return parts.join(", ");
}

function bars({ total, classes }) {
  return classes
    .filter(({ count }) => count)
    .map(({ value, name, count }) => {
      const row = document.createElement("li");
      const share = count / total;
      const meter = Object.assign(document.createElement("meter"), { value: share, ariaLabel: _(name ?? "class %(value)s", { value }) });
      row.append(meter, ` ${name ? _(name) : value}: ${number(100 * share, 1)} %`);
      return row;
    });
}

async function send(form, tell) {
  tell(_("Sending the order …"));
  const { ok, told, url } = await post(form.action, form);
  if (ok) location.assign(url);
  else tell(told.detail, true);
}

// The polygons of a file as text; the server reads what is no text. Throws an Error that says what is wrong.
async function areaOf(file, form, tell) {
  const largest = Number(form.dataset.largest);
  if (file.size > largest) throw new Error(_("The file is larger than %(size)s.", { size: sizeOf(largest) }));
  if (AS_TEXT.test(file.name)) return { text: await file.text(), notes: [] };
  tell(_("Reading the file …"));
  const { ok, told } = await ask(form.dataset.read, file, { "Content-Type": "application/octet-stream" });
  if (!ok) throw new Error(told.detail);
  return { text: JSON.stringify(told.geometry), notes: told.properties.notes };
}

function post(address, form) {
  const body = new URLSearchParams([...new FormData(form)].filter(([, value]) => typeof value === "string"));
  return ask(address, body, {});
}

// {ok, url, told}: the answer's document; where there is none, `detail` is a sentence of ours.
async function ask(address, body, headers) {
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json", "Accept-Language": LANGUAGE, ...headers } });
  } catch {
    return { ok: false, told: { detail: UNREACHABLE } };
  }
  const { ok, url, status } = answer;
  if (ok && answer.headers.get("Content-Type")?.startsWith("text/html")) return { ok, url, told: {} };
  try {
    return { ok, url, told: await answer.json() };
  } catch {
    return { ok: false, url, told: { detail: _("The server answered %(status)s. Nothing is lost: try again.", { status }) } };
  }
}

function upload(act) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: FILES });
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) await act(file);
    input.value = ""; // so that the same file can be taken again
  });
  const label = Object.assign(document.createElement("label"), {
    textContent: _("or a file (GeoJSON, GeoPackage, KML, zipped Shapefile, WKT):") + " ",
  });
  label.append(input);
  return { label, note: Object.assign(document.createElement("small"), { ariaLive: "polite" }) };
}

function later(act) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, PAUSE);
  };
}
