// A finished path to explore: at the lambda under the pointer, names and values of its coefficients.

import { Chart } from "./chart.js";
import { h, number, s } from "./dom.js";

export class Explorer {
  constructor(node) {
    this.chart = new Chart({ height: 440, xLabel: "lambda", xLog: true, label: "Coefficient path", onMove: (where) => this.move(where) });
    this.facts = h("dl", { class: "figures" });
    this.rows = h("tbody");
    this.panel = h("aside", { "aria-live": "polite" }, this.facts, h("div", { class: "names", tabindex: 0 }, h("table", {}, this.rows)));
    this.panel.hidden = true;
    this.node = node;
    node.replaceChildren(this.chart.node, this.panel);
  }

  // While it grows: curves [{key, color, points}].
  grow(curves) {
    this.node.classList.add("alone");
    this.chart.draw(curves);
  }

  // When it is whole: the answer of /v1/models/NAME/path.
  show(path) {
    this.path = path;
    this.panel.hidden = false;
    this.node.classList.remove("alone");
    const curves = path.coef.map((values, j) => ({ key: path.names[j], color: j, points: values.map((value, k) => [path.lambdas[k], value]) }));
    const marks = path.chosen === null ? [] : [{ x: path.lambdas[path.chosen], text: "chosen" }];
    this.chart.draw(curves, marks);
    this.select(path.chosen ?? path.lambdas.length - 1);
  }

  move({ x, key, step }) {
    if (!this.path) return;
    const { lambdas } = this.path;
    if (step) this.select(Math.min(Math.max(this.k + step, 0), lambdas.length - 1));
    else if (x !== undefined) {
      const near = (k) => Math.abs(Math.log(lambdas[k] / x));
      this.select(lambdas.reduce((best, _, k) => (near(k) < near(best) ? k : best), 0));
    }
    this.emphasise(key);
  }

  emphasise(key) {
    this.chart.emphasise(key);
    for (const row of this.rows.children) row.classList.toggle("strong", row.dataset.key === key);
    if (key !== null) this.rows.querySelector(".strong")?.scrollIntoView({ block: "nearest" });
  }

  select(k) {
    this.k = k;
    const path = this.path;
    this.chart.cursor(path.lambdas[k]);
    const facts = [["lambda", number(path.lambdas[k])], ["active", number(path.n_active[k])], ["gap", number(path.gap[k], 2)], ["explained", `${(100 * path.deviance_ratio[k]).toFixed(1)} %`]];
    if (path.mean_score) facts.push([`mean ${path.score}`, number(path.mean_score[k])]);
    this.facts.replaceChildren(...facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
    const order = path.names.map((name, j) => ({ name, color: j, value: path.coef[j][k] })).filter((one) => one.value !== 0);
    order.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
    const rows = order.map((one) => h("tr", { "data-key": one.name, onpointerenter: () => this.chart.emphasise(one.name), onpointerleave: () => this.chart.emphasise(null) },
      h("td", {}, s("svg", { class: "key", viewBox: "0 0 10 10" }, s("circle", { class: `c${one.color % 10}`, cx: 5, cy: 5, r: 4 }))),
      h("td", { title: one.name }, one.name), h("td", {}, number(one.value))));
    const hidden = path.n_active[k] - order.length;
    if (hidden > 0) rows.push(h("tr", {}, h("td"), h("td", {}, `and ${number(hidden)} smaller`), h("td")));
    this.rows.replaceChildren(...rows);
  }
}
