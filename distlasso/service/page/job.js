// One job: its figures and curves as its events come in, then its path to explore.

import { download, get, post, watch } from "./api.js";
import { Chart } from "./chart.js";
import { bytes, h, number, seconds } from "./dom.js";
import { look } from "./jobs.js";
import { Explorer } from "./explorer.js";
import { Live } from "./live.js";

export async function show(main, id, signal) {
  const job = await get(`/v1/jobs/${id}`);
  if (signal.aborted) return;
  const view = new View(main, job);
  view.state(job);
  for (;;) {
    await watch(id, (kind, data) => view.take(kind, data), signal);
    if (signal.aborted) return;
    await view.over(await get(`/v1/jobs/${id}`));
    await view.resumed(signal);
    if (signal.aborted) return;
  }
}

class View {
  constructor(main, job) {
    this.job = job;
    this.live = new Live(job.spec.options?.tol);
    this.badge = h("span", { class: "badge", id: "state" });
    this.cancel = h("button", { class: "quiet", id: "cancel", onclick: () => this.ask("cancel") }, "Cancel");
    this.resume = h("button", { class: "quiet", id: "resume", onclick: () => this.ask("resume") }, "Resume");
    this.fetch = h("button", { class: "button", id: "download", onclick: () => this.told(() => download(`/v1/jobs/${job.id}/output`, job.kind === "predict" ? `${job.output}.npy` : `${job.output}.zip`)) }, "Download");
    this.problem = h("p", { class: "problem", id: "problem", role: "alert", hidden: true });
    this.bar = h("progress", { max: 1, value: 0, "aria-label": "Certified lambdas" });
    this.figures = h("dl", { class: "figures", id: "figures" });
    this.path = h("div", { class: "explorer alone" });
    this.explorer = new Explorer(this.path);
    this.pathCard = h("section", { class: "card", id: "path", hidden: true }, h("h2", {}, "Coefficient path"), this.path);
    this.active = new Chart({ height: 150, xLabel: "lambda", xLog: true, label: "Active set by lambda" });
    this.gap = new Chart({ height: 150, xLabel: "lambda", xLog: true, yLog: true, label: "Duality gap by lambda" });
    this.speed = new Chart({ height: 150, xLabel: "pass", label: "Throughput by pass" });
    this.small = h("div", { class: "small-charts", hidden: true },
      h("section", { class: "card" }, h("h3", {}, "Active columns"), this.active.node),
      h("section", { class: "card" }, h("h3", {}, "Duality gap"), this.gap.node),
      h("section", { class: "card" }, h("h3", {}, "Throughput, GB/s"), this.speed.node));
    this.log = h("ol", { class: "log" });
    main.replaceChildren(
      h("div", { class: "head" }, h("h1", {}, job.output), this.badge, h("span", { class: "grow" }), this.cancel, this.resume, this.fetch),
      h("p", { class: "hint" }, subject(job)), this.problem,
      h("section", { class: "card" }, this.bar, h("br"), this.figures), this.pathCard, this.small,
      h("details", {}, h("summary", {}, "What happened"), h("div", { class: "card" }, this.log)),
      h("details", {}, h("summary", {}, "What was asked for"), h("pre", { class: "card" }, h("code", {}, JSON.stringify(job.spec, null, 2)))));
  }

  state({ state, cancelling, error }) {
    this.now = state;
    this.badge.className = `badge ${state}`;
    this.badge.replaceChildren(h("span", { class: "dot" }), cancelling ? "stopping" : state);
    this.cancel.hidden = !["queued", "running", "resumable"].includes(state);
    this.cancel.disabled = Boolean(cancelling);
    this.resume.hidden = !["failed", "cancelled"].includes(state);
    this.fetch.hidden = state !== "succeeded" || this.job.kind === "ingest";
    this.problem.textContent = error || "";
    this.problem.hidden = !error;
  }

  take(kind, data) {
    if (kind === "state") { this.state(data); look(); }
    this.live.take(kind, data);
    this.note(kind, data);
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.draw(); });
  }

  draw() {
    const { live, live: { figures } } = this;
    const all = figures.n_lambdas;
    this.bar.hidden = !all;
    this.bar.value = all ? (figures.n_accepted ?? 0) / all : 0;
    const rows = all ? [
      ["Lambdas certified", `${number(figures.n_accepted ?? 0)} of ${number(all)}`], ["Active columns", number(figures.n_active)], ["Strong set", number(figures.n_strong)],
      ["Largest gap", number(figures.gap, 2)], ["Passes", number(figures.passes ?? 0)], ["Read", bytes(figures.bytes_read)], ["Time", seconds(live.elapsed())],
    ] : [["Rows", number(figures.rows)], ["Written", bytes(figures.bytes_written)], ["Time", seconds(live.elapsed())]].filter((row) => row[1] !== "–");
    this.figures.replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    if (live.lambdas.length) {
      this.pathCard.hidden = this.small.hidden = false;
      if (!this.explorer.path) this.explorer.grow(live.curves());
      this.active.draw([{ points: live.counts, color: 2 }]);
      this.gap.draw([{ points: live.gaps, color: 0 }], [{ y: live.tol, text: "tolerance" }]);
    }
    this.speed.draw([{ points: live.speeds, color: 5 }]);
  }

  note(kind, data) {
    const text = {
      state: () => [data.state, data.error].filter(Boolean).join(": "),
      fit_started: () => `${number(data.n_rows)} rows, ${number(data.n_columns)} columns: ${data.form}`,
      warning: () => `warning: ${data.message}`,
      fit_finished: () => `${number(data.n_lambdas)} lambdas after ${number(data.passes)} passes, ${seconds(data.seconds)}: ${data.reason}`,
      worker_lost: () => "a worker was lost", resumed: () => "resumed from its checkpoint",
    }[kind];
    if (text) this.log.append(h("li", {}, h("time", {}, new Date(data.at * 1000).toLocaleTimeString()), text()));
  }

  async over(job) {
    this.job = job;
    this.state(job);
    this.draw();
    if (job.state !== "succeeded" || !["fit", "cv"].includes(job.kind)) return;
    await this.told(async () => {
      this.pathCard.hidden = false;
      this.explorer.show(await get(`/v1/models/${encodeURIComponent(job.output)}/path`));
    });
  }

  // Resolves when a job that was over goes on, or nobody looks any more.
  async resumed(signal) {
    while (!signal.aborted && ["succeeded", "failed", "cancelled"].includes(this.now)) {
      await new Promise((wake) => { this.wake = wake; signal.addEventListener("abort", wake); });
    }
  }

  async ask(what) {
    await this.told(async () => { this.state(await post(`/v1/jobs/${this.job.id}/${what}`)); this.wake?.(); });
  }

  async told(work) {
    try { await work(); } catch (error) { this.problem.textContent = error.message; this.problem.hidden = false; }
  }
}

function subject(job) {
  const { kind, dataset, source, model } = job.spec;
  const what = { fit: `Path on ${dataset}`, cv: `Cross-validation on ${dataset}`, ingest: `Ingest of ${source}`, predict: `Predictions of ${model} on ${dataset}` }[kind];
  return `${what} · ${job.id} · submitted ${new Date(job.created * 1000).toLocaleString()}`;
}
