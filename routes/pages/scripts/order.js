// The form of an order: the map fills in the area, an estimate tells what it would be, and a refusal loses nothing.

const PAUSE = 600;
const LARGEST = 9e6;

/** Join the form and the drawing; `data-estimate` of the form is the address that estimates. */
export function orderForm(form, area) {
  const field = form.querySelector("textarea[data-area]");
  const told = form.querySelector("[role=status]");
  const tell = (text, wrong = false) => {
    told.textContent = text;
    told.classList.toggle("broken", wrong);
  };
  const estimate = later(() => showEstimate(form, field, tell));
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
  area.tools.append(upload(async (file) => {
    if (file.size > LARGEST) return tell(`The file is larger than ${LARGEST / 1e6} MB.`, true);
    field.value = await file.text();
    return field.dispatchEvent(new Event("input"));
  }));
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
  tell("Estimating …");
  const answer = await post(form.dataset.estimate, form);
  const told = await answer.json();
  if (!answer.ok) return tell(told.detail, true);
  if (!told.accepted) return tell(told.reason, true);
  chart.append(...bars(told.pixels ?? told.polygons));
  return tell(inWords(told));
}

const NUMBER = new Intl.NumberFormat(document.documentElement.lang || undefined);

function inWords({ area, pixels, polygons, size, time }) {
  const parts = [`${NUMBER.format(area.km2)} km²`];
  if (pixels) parts.push(`${NUMBER.format(pixels.total)} pixels`);
  if (polygons) parts.push(`${polygons.exact ? "" : "about "}${NUMBER.format(polygons.total)} polygons`);
  if (size) parts.push(`about ${bytes(size.expected)}`);
  if (time) parts.push(`ready in about ${NUMBER.format(Math.max(1, Math.ceil(time.expected)))} s`);
  return parts.join(", ");
}

const bytes = (count) => (count < 1e6 ? `${Math.ceil(count / 1e3)} kB` : `${(count / 1e6).toFixed(1)} MB`);

function bars({ total, classes }) {
  return classes
    .filter(({ count }) => count)
    .map(({ value, name, count }) => {
      const row = document.createElement("li");
      const share = count / total;
      const meter = Object.assign(document.createElement("meter"), { value: share, ariaLabel: name ?? `class ${value}` });
      row.append(meter, ` ${name ?? value}: ${(100 * share).toFixed(1)} %`);
      return row;
    });
}

async function send(form, tell) {
  tell("Sending the order …");
  const answer = await post(form.action, form);
  if (answer.ok) location.assign(answer.url);
  else tell((await answer.json()).detail, true);
}

function post(address, form) {
  const body = new URLSearchParams([...new FormData(form)].filter(([, value]) => typeof value === "string"));
  return fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
}

function upload(act) {
  const input = Object.assign(document.createElement("input"), { type: "file", accept: ".geojson,.json,.wkt,.txt" });
  input.addEventListener("change", () => input.files.length && act(input.files[0]));
  const label = Object.assign(document.createElement("label"), { textContent: "or a file (GeoJSON, WKT): " });
  label.append(input);
  return label;
}

function later(act) {
  let waiting;
  return () => {
    clearTimeout(waiting);
    waiting = setTimeout(act, PAUSE);
  };
}
