// Line charts as SVG: axes, curves, and a cursor that follows the pointer or the arrow keys.

import { h, number, s } from "./dom.js";

const MARGIN = { top: 10, right: 12, bottom: 34, left: 58 };

// One chart. `draw` shows curves [{points: [[x, y]], color, key}]; `cursor` puts the vertical line at an x.
export class Chart {
  constructor({ height = 220, xLabel = "", xLog = false, yLog = false, label, onMove = null }) {
    Object.assign(this, { height, xLabel, xLog, yLog, onMove });
    this.svg = s("svg", { class: "chart", role: "img", "aria-label": label, height, tabindex: onMove ? 0 : null });
    this.node = h("div", {}, this.svg);
    this.curves = [];
    this.marks = [];
    if (onMove) this.listen();
    new ResizeObserver(() => this.render()).observe(this.node);
  }

  draw(curves, marks = []) {
    this.curves = curves;
    this.marks = marks;
    if (!this.waiting) this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.render(); });
  }

  render() {
    const width = this.node.clientWidth;
    if (width === 0) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${this.height}`);
    const points = this.curves.flatMap((curve) => curve.points).filter(([, y]) => !this.yLog || y > 0);
    if (points.length === 0) { this.svg.replaceChildren(); return; }
    this.x = scale(points.map((point) => point[0]), this.xLog, MARGIN.left, width - MARGIN.right, this.xLog);
    const levels = this.marks.map((mark) => mark.y).filter((y) => y !== undefined); // which the chart has to reach
    this.y = scale([...points.map((point) => point[1]), ...levels], this.yLog, this.height - MARGIN.bottom, MARGIN.top, false);
    this.overlay = s("g", { class: "overlay" });
    this.svg.replaceChildren(this.axes(width), ...this.marks.map((mark) => this.mark(mark)), ...this.curves.map((curve) => this.curve(curve)), this.overlay);
    if (this.at !== undefined) this.cursor(this.at);
  }

  axes(width) {
    const group = s("g");
    const bottom = this.height - MARGIN.bottom;
    for (const value of ticks(this.y, Math.max(3, Math.floor(this.height / 45)))) {
      const y = this.y.to(value);
      group.append(s("line", { class: value === 0 ? "zero" : "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y, y2: y }));
      group.append(s("text", { x: MARGIN.left - 8, y: y + 4, "text-anchor": "end" }, short(value)));
    }
    for (const value of ticks(this.x, Math.max(3, Math.floor(width / 90)))) {
      group.append(s("text", { x: this.x.to(value), y: bottom + 16, "text-anchor": "middle" }, short(value)));
    }
    group.append(s("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: this.height - 3, "text-anchor": "middle" }, this.xLabel));
    return group;
  }

  curve({ points, color = 0, key = "" }) {
    const shown = points.filter(([, y]) => !this.yLog || y > 0);
    const path = shown.map(([x, y], k) => `${k ? "L" : "M"}${this.x.to(x).toFixed(1)} ${this.y.to(y).toFixed(1)}`).join("");
    if (shown.length === 1) return s("circle", { class: `c${color % 10}`, "data-key": key, cx: this.x.to(shown[0][0]), cy: this.y.to(shown[0][1]), r: 2.5 });
    return s("path", { class: `curve c${color % 10}`, "data-key": key, d: path });
  }

  mark({ x, y, text }) {
    const group = s("g");
    if (x !== undefined) {
      const at = this.x.to(x);
      const late = at > (this.x.from + this.x.till) / 2;
      group.append(s("line", { class: "chosen", x1: at, x2: at, y1: MARGIN.top, y2: this.height - MARGIN.bottom }), s("text", { x: at + (late ? -5 : 5), y: MARGIN.top + 9, "text-anchor": late ? "end" : "start" }, text));
    } else {
      const at = this.y.to(y);
      group.append(s("line", { class: "chosen", x1: this.x.from, x2: this.x.till, y1: at, y2: at }), s("text", { x: this.x.till, y: at - 4, "text-anchor": "end" }, text));
    }
    return group;
  }

  cursor(x) {
    this.at = x;
    if (!this.overlay) return;
    const at = this.x.to(x);
    this.overlay.replaceChildren(s("line", { class: "cursor", x1: at, x2: at, y1: MARGIN.top, y2: this.height - MARGIN.bottom }));
  }

  emphasise(key) {
    for (const node of this.svg.querySelectorAll("[data-key]")) {
      node.classList.toggle("dimmed", key !== null && node.dataset.key !== key);
      node.classList.toggle("strong", key !== null && node.dataset.key === key);
    }
  }

  listen() {
    this.svg.addEventListener("pointermove", (event) => {
      if (!this.x) return;
      const box = this.svg.getBoundingClientRect();
      this.onMove({ x: this.x.back(event.clientX - box.left), key: this.nearest(event.clientX - box.left, event.clientY - box.top), step: 0 });
    });
    this.svg.addEventListener("pointerleave", () => this.onMove({ key: null, step: 0 }));
    this.svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); this.onMove({ key: null, step }); }
    });
  }

  // The curve under the pointer, if one is within a few pixels.
  nearest(px, py) {
    let best = null, least = 9;
    for (const { points, key } of this.curves) {
      for (let k = 1; k < points.length; k++) {
        const [x0, x1] = [this.x.to(points[k - 1][0]), this.x.to(points[k][0])];
        if ((px < x0 && px < x1) || (px > x0 && px > x1)) continue;
        const share = x1 === x0 ? 0 : (px - x0) / (x1 - x0);
        const distance = Math.abs(this.y.to(points[k - 1][1]) * (1 - share) + this.y.to(points[k][1]) * share - py);
        if (distance < least) { least = distance; best = key; }
      }
    }
    return best;
  }
}

function short(value) {
  const size = Math.abs(value);
  return value !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential(0).replace("e+", "e") : number(value, 3);
}

function scale(values, log, from, till, falling) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  if (low === high) { [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2]; }
  else if (!falling && !log && till < from) { const pad = (high - low) * 0.04; low = low === 0 ? 0 : low - pad; high += pad; }
  const f = log ? Math.log10 : (value) => value;
  const g = log ? (value) => 10 ** value : (value) => value;
  const [a, b] = falling ? [f(high), f(low)] : [f(low), f(high)];
  return {
    low, high, log, from, till,
    to: (value) => from + ((f(value) - a) / (b - a)) * (till - from),
    back: (pixel) => g(a + ((pixel - from) / (till - from)) * (b - a)),
  };
}

function ticks({ low, high, log }, count) {
  if (log) {
    const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
    const step = Math.max(1, Math.ceil((last - first) / count));
    for (const leaders of [[1, 2, 3, 5, 7], [1, 2, 5], [1, 3], [1]]) {
      const found = [];
      for (let power = first; power <= last; power += step) for (const k of leaders) found.push(Number((k * 10 ** power).toPrecision(3)));
      const seen = found.filter((value) => value >= low && value <= high);
      if (seen.length >= 2 && (seen.length <= count || leaders.length === 1)) return seen;
    }
  }
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((one) => one >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}
