// The list of jobs, looked at every two seconds.

import { get } from "./api.js";
import { h } from "./dom.js";

const EVERY = 2000;

export async function look() {
  try {
    const { jobs } = await get("/v1/jobs?limit=100");
    show(document.getElementById("jobs"), jobs);
    await cluster();
  } catch (error) {
    document.getElementById("cluster").textContent = error.message;
  }
}

export async function start() {
  for (;;) {
    await look();
    await new Promise((wake) => setTimeout(wake, document.hidden ? 5 * EVERY : EVERY));
  }
}

export function mark() {
  for (const link of document.querySelectorAll("#jobs a")) {
    if (link.getAttribute("href") === location.hash) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function show(list, jobs) {
  document.getElementById("no-jobs").hidden = jobs.length > 0;
  list.replaceChildren(...jobs.map((job) => h("li", {},
    h("a", { href: `#/jobs/${job.id}`, class: job.state },
      h("span", { class: "dot" }), h("span", { class: "name" }, job.output), h("span", { class: "when" }, ago(job.created)),
      h("span", { class: "what" }, `${job.kind}, ${describe(job)}`)))));
  mark();
}

function describe(job) {
  if (job.state === "running" && job.cancelling) return "stopping";
  const { n_accepted: done, n_lambdas: all } = job.progress;
  if (job.state === "running" && all) return `running, ${done ?? 0} of ${all}`;
  return job.state;
}

async function cluster() {
  const about = await get("/v1/cluster");
  const where = about.workers === null ? "in this machine's threads" : `on ${about.workers} worker${about.workers === 1 ? "" : "s"}`;
  document.getElementById("cluster").textContent = `${about.running} of at most ${about.most_jobs} jobs running ${where}`;
}

function ago(time) {
  const passed = Date.now() / 1000 - time;
  if (passed < 60) return "now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min`;
  if (passed < 86400) return `${Math.floor(passed / 3600)} h`;
  return `${Math.floor(passed / 86400)} d`;
}
