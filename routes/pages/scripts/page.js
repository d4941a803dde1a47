// Every page: times as the reader's clock shows them; a job's page follows the job; commands can be copied.
import { followJob } from "./job.js";
import { _, LANGUAGE } from "./words.js";

const CLOCK = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "long", timeStyle: "long" });
const DAY = { day: "numeric", month: "long" };

for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.valueOf())) {
    time.title = time.dateTime;
    time.textContent = "day" in time.dataset ? dayOf(moment) : CLOCK.format(moment);
  }
}
for (const element of document.querySelectorAll("[data-job]")) followJob(element);
for (const element of document.querySelectorAll("[data-copied]")) copyable(element);

// The year is said where it is another one.
function dayOf(moment) {
  const year = moment.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return new Intl.DateTimeFormat(LANGUAGE, { ...DAY, year }).format(moment);
}

// A button that copies what the element says.
function copyable(element) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: _("Copy") });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(element.textContent);
    button.textContent = _("Copied");
  });
  element.before(button);
}
