// Every page: times as the reader's clock shows them; a job's page follows the job; commands can be copied.
import { followJob } from "./job.js";

const CLOCK = new Intl.DateTimeFormat(document.documentElement.lang || undefined, {
  dateStyle: "medium",
  timeStyle: "long",
});

const DAY = new Intl.DateTimeFormat(document.documentElement.lang || undefined, { dateStyle: "long" });

for (const time of document.querySelectorAll("time[datetime]")) {
  const moment = new Date(time.dateTime);
  if (!Number.isNaN(moment.valueOf())) {
    time.title = time.dateTime;
    time.textContent = ("day" in time.dataset ? DAY : CLOCK).format(moment);
  }
}
for (const element of document.querySelectorAll("[data-job]")) followJob(element);
for (const element of document.querySelectorAll("[data-copied]")) copyable(element);

// A button that copies what the element says.
function copyable(element) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "Copy" });
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(element.textContent);
    button.textContent = "Copied";
  });
  element.before(button);
}
