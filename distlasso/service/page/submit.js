// The form for a new job: what is usual as fields, everything else as JSON.

import { get, post } from "./api.js";
import { bytes, h, number, seconds } from "./dom.js";

const LOSSES = ["squared", "logistic", "poisson", "huber"];
const SCHEDULES = ["none", "relaxed", "mcp", "scad", "adaptive", "prune-refine"];

// Fields by kind of job: [name, label, hint, type or choices, default, whether it is an option].
const FITS = [
  ["dataset", "Dataset", "a name, or a path below a root", "datasets", "", false],
  ["output", "Output", "name of the model, optional", "text", "", false],
  ["loss", "Loss", "by what the target is", LOSSES, "squared", true],
  ["l1_ratio", "L1 ratio", "1 is the lasso, 0 is ridge", "number", 1, true],
  ["n_lambdas", "Lambdas", "length of the path", "number", 100, true],
  ["tol", "Tolerance", "duality gap to reach", "number", 1e-6, true],
];
const KINDS = {
  fit: { title: "Fit a path", fields: [...FITS, ["schedule", "Schedule", "further fits at every lambda", SCHEDULES, "none", true]] },
  cv: { title: "Cross-validate", fields: [...FITS, ["folds", "Folds", "", "number", 10, true], ["rule", "Rule", "", ["min", "1se"], "min", true], ["schedule", "Schedule", "", SCHEDULES, "none", true]] },
  ingest: { title: "Ingest a file", fields: [
    ["source", "Source", "CSV, Parquet, .npy, .npz or svmlight below a root", "text", "", false],
    ["output", "Output", "name of the dataset", "text", "", false],
    ["target", "Target", "name of its column", "text", "", true],
    ["missing", "Missing values", "", ["error", "mean", "drop", "keep"], "error", true]] },
  predict: { title: "Predict", fields: [
    ["model", "Model", "", "models", "", false], ["dataset", "Dataset", "a name, or a path below a root", "datasets", "", false],
    ["lam", "Lambda", "the chosen one, or all, if empty", "number", "", true],
    ["type", "Type", "", ["link", "response", "class"], "link", true]] },
};

export async function show(main, signal) {
  const known = { datasets: [], models: [] };
  const [datasets, models] = await Promise.all([get("/v1/datasets"), get("/v1/models")]);
  if (signal.aborted) return;
  known.datasets = datasets.map((one) => one.name);
  known.models = models.map((one) => one.name);
  const kind = h("select", { id: "kind", name: "kind", onchange: () => refresh() },
    Object.entries(KINDS).map(([name, { title }]) => h("option", { value: name }, title)));
  const fields = h("fieldset", { id: "fields" });
  const more = h("textarea", { id: "more", spellcheck: "false", placeholder: '{"solver": "fista", "max_active": 200}' });
  const problem = h("p", { id: "problem", class: "problem", role: "alert", hidden: true });
  const plan = h("dl", { id: "plan", class: "figures", hidden: true });
  const form = h("form", { class: "card", onsubmit: (event) => { event.preventDefault(); submit(); } },
    h("label", { for: "kind" }, "What to do", kind), fields,
    h("details", {}, h("summary", {}, "Further options, as JSON"), more), problem, plan,
    h("div", { class: "row" }, h("button", { class: "button", type: "submit" }, "Submit"),
      h("button", { class: "quiet", type: "button", id: "estimate", onclick: () => estimate() }, "What would it cost?")));
  const refresh = () => { fields.replaceChildren(...KINDS[kind.value].fields.map((field) => control(field, known))); plan.hidden = true; };
  const told = async (work) => {
    problem.hidden = true;
    try { await work(); } catch (error) { problem.textContent = error.message; problem.hidden = false; }
  };
  const submit = () => told(async () => { location.hash = `#/jobs/${(await post("/v1/jobs", read(kind.value, fields, more.value))).id}`; });
  const estimate = () => told(async () => {
    const found = await post("/v1/plans", read(kind.value, fields, more.value));
    const range = (pair, show) => pair && [...new Set(pair.map((value) => show(value)))].join(" to ");
    const rows = [["Passes", range(found.passes, number)], ["Read a pass", bytes(found.bytes_per_pass)], ["Memory at most", found.coordinator_bytes && bytes(found.coordinator_bytes)], ["Time", range(found.seconds, atLeast)], ["Form", found.form && found.form.split(",")[0]]];
    plan.replaceChildren(...rows.filter((row) => row[1]).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { title: found.basis }, value))));
    plan.hidden = false;
  });
  refresh();
  main.replaceChildren(h("h1", {}, "New job"), form);
}

function atLeast(value) { return value < 0.1 ? "0.1 s" : seconds(value); }

function control([name, label, hint, type, value], known) {
  let input;
  if (Array.isArray(type)) input = h("select", { name }, type.map((choice) => h("option", { selected: choice === value }, choice)));
  else if (type === "number") input = h("input", { name, type: "number", step: "any", value });
  else {
    const list = known[type] ? `list-${name}` : null;
    input = h("span", {}, h("input", { name, type: "text", value, list, autocomplete: "off", spellcheck: "false" }),
      list && h("datalist", { id: list }, known[type].map((one) => h("option", { value: one }))));
  }
  return h("label", {}, label, input, hint && h("small", {}, hint));
}

function read(kind, fields, more) {
  const job = { kind };
  const options = {};
  for (const [name, , , type, usual, isOption] of KINDS[kind].fields) {
    const text = fields.querySelector(`[name="${name}"]`).value.trim();
    if (text === "") continue;
    const value = type === "number" ? Number(text) : text;
    if (!isOption) job[name] = value;
    else if (value !== usual) options[name] = value;
  }
  if (more.trim()) {
    let given;
    try { given = JSON.parse(more); } catch { throw new Error("The further options are not JSON: write them as {\"name\": value}."); }
    Object.assign(options, given);
  }
  if (Object.keys(options).length) job.options = options;
  return job;
}
