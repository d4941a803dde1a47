// A job that is not done yet: its state and progress as they change.
import { _, LANGUAGE } from "./words.js";

const PAUSE = 1500;
const LONGEST = 15000;
const UNFINISHED = ["accepted", "running"];

/** Follow the job whose address is `data-job`; the page is loaded anew once the job has ended. */
export function followJob(element) {
  const address = element.dataset.job;
  const bar = element.querySelector("progress");
  const told = element.querySelector("[role=status]");
  let pause = PAUSE;
  const look = async () => {
    try {
      const answer = await fetch(address, { headers: { Accept: "application/json", "Accept-Language": LANGUAGE } });
      if (!answer.ok) return location.reload();
      const job = await answer.json();
      if (!UNFINISHED.includes(job.status)) return location.reload();
      bar.value = job.progress;
      bar.nextElementSibling.textContent = `${job.progress} %`;
      const said = job.message ?? "";
      told.textContent = _(said);
      pause = PAUSE;
    } catch {
      told.textContent = _("The server does not answer; this page tries again.");
      pause = Math.min(2 * pause, LONGEST);
    }
    return setTimeout(look, pause);
  };
  setTimeout(look, pause);
}
