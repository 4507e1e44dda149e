"use strict";
// Draws the report from the contents beside it. Text of the contents is put up as text nodes only, never as markup.
(() => {
  const report = JSON.parse(document.getElementById("contents").textContent);
  const main = document.getElementById("report");
  const COLOURS = ["#0b8ec4", "#e8590c", "#2f9e44", "#ae3ec9", "#e64980", "#7048e8", "#f08c00", "#1971c2", "#0ca678", "#868e96"];
  const NAMED = COLOURS.length;
  const WIDTH = 1040, LEFT = 64, RIGHT = 150, TOP = 14, BOTTOM = 40;
  const LABEL = { space: 15, length: 22 };

  function element(tag, options = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(options)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function shape(tag, options = {}, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(options)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function number(value) {
    if (value === null) return "none";
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e-3 && size < 1e6 ? String(Number(value.toPrecision(6))) : Number(value.toPrecision(4)).toExponential();
  }

  // Scales: from values to places, with the ticks of the axis.

  function logarithmic(low, high, from, to) {
    const a = Math.log10(low), b = Math.log10(high) === a ? a - 1 : Math.log10(high);
    const ticks = [], [least, most] = [Math.min(a, b), Math.max(a, b)];
    const step = Math.max(1, Math.ceil((most - least) / 8));
    for (let e = Math.ceil(least - 1e-9); e <= most + 1e-9; e += step) ticks.push(10 ** e);
    if (ticks.length < 3) {
      for (let e = Math.floor(least); e <= most; e++) {
        for (const m of [1, 2, 5]) {
          const tick = m * 10 ** e;
          if (Math.log10(tick) >= least - 1e-9 && Math.log10(tick) <= most + 1e-9 && !ticks.includes(tick)) ticks.push(tick);
        }
      }
    }
    return { at: (v) => from + ((Math.log10(v) - a) / (b - a)) * (to - from), ticks };
  }

  function linear(low, high, from, to) {
    if (low === high) [low, high] = [low - 1, high + 1];
    const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
    const ticks = [];
    for (let k = Math.ceil(low / step); k * step <= high; k++) ticks.push(k * step);
    return { at: (v) => from + ((v - low) / (high - low)) * (to - from), ticks };
  }

  // A figure: axes, and a tip that follows the pointer.

  function figure(height, x, y, labels) {
    const svg = shape("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": labels.title });
    for (const tick of y.ticks) {
      svg.append(shape("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y.at(tick), y2: y.at(tick) }));
      svg.append(shape("text", { x: LEFT - 6, y: y.at(tick) + 4, "text-anchor": "end" }, number(tick)));
    }
    for (const tick of x.ticks) {
      svg.append(shape("line", { class: "axis", x1: x.at(tick), x2: x.at(tick), y1: height - BOTTOM, y2: height - BOTTOM + 5 }));
      svg.append(shape("text", { x: x.at(tick), y: height - BOTTOM + 18, "text-anchor": "middle" }, number(tick)));
    }
    svg.append(shape("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: height - BOTTOM, y2: height - BOTTOM }));
    svg.append(shape("text", { x: WIDTH - RIGHT, y: height - 6, "text-anchor": "end" }, labels.x));
    const tip = element("div", { class: "tip hidden" });
    return { svg, tip, box: element("div", { class: "figure" }, svg, tip) };
  }

  function hover(drawn, tell, leave) {
    const { svg, tip, box } = drawn;
    svg.addEventListener("pointermove", (event) => {
      const frame = svg.getBoundingClientRect(), scale = WIDTH / frame.width;
      const text = tell((event.clientX - frame.left) * scale, (event.clientY - frame.top) * scale);
      tip.textContent = text;
      tip.classList.toggle("hidden", !text);
      const place = event.clientX - box.getBoundingClientRect().left;
      const right = place > frame.width * 0.65;
      tip.style.setProperty("left", right ? "auto" : `${place + 16}px`);
      tip.style.setProperty("right", right ? `${box.clientWidth - place + 16}px` : "auto");
      tip.style.setProperty("top", `${event.clientY - box.getBoundingClientRect().top + 10}px`);
    });
    svg.addEventListener("pointerleave", () => {
      tip.classList.add("hidden");
      if (leave) leave();
    });
  }

  function nearest(places, x) {
    let best = 0;
    for (let k = 1; k < places.length; k++) if (Math.abs(places[k] - x) < Math.abs(places[best] - x)) best = k;
    return best;
  }

  function lambdaAxis(lambdas) {
    return logarithmic(lambdas[0], lambdas[lambdas.length - 1], LEFT, WIDTH - RIGHT);
  }

  function points(xs, ys) {
    return xs.map((x, k) => (ys[k] === null ? null : `${x.toFixed(1)},${ys[k].toFixed(1)}`)).filter(Boolean).join(" ");
  }

  function labels(svg, ends, height) {
    // Names beside the ends of their lines, pushed apart from the top down, and back up where there is no room.
    ends.sort((a, b) => a.y - b.y);
    let free = TOP;
    for (const end of ends) free = (end.at = Math.max(end.y, free)) + LABEL.space;
    let limit = height - BOTTOM;
    for (const end of [...ends].reverse()) limit = (end.at = Math.min(end.at, limit)) - LABEL.space;
    for (const { name, y, at, colour } of ends) {
      const from = WIDTH - RIGHT, short = name.length > LABEL.length ? `${name.slice(0, LABEL.length - 1)}…` : name;
      svg.append(shape("line", { class: "grid", x1: from + 2, x2: from + 12, y1: y, y2: at }));
      const text = shape("text", { class: "name", x: from + 15, y: at + 4 }, short);
      text.style.setProperty("fill", colour);
      svg.append(text);
    }
  }

  function pathFigure(output) {
    const height = 460, { lambdas, lines, active } = output;
    let [low, high] = [0, 0];
    for (const line of lines) for (const value of line.values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const x = lambdaAxis(lambdas), y = linear(low, high, height - BOTTOM, TOP);
    const drawn = figure(height, x, y, { title: "coefficients against lambda", x: "lambda" });
    const xs = lambdas.map(x.at);
    const order = lines.map((_, k) => k);
    const last = lambdas.length - 1;
    const size = (k) => Math.abs(lines[k].values[last]);
    order.sort((a, b) => size(b) - size(a));
    const shapes = [], heights = lines.map((line) => line.values.map(y.at));
    for (const rank of order.map((_, r) => order.length - 1 - r)) {
      const k = order[rank], named = rank < NAMED && size(k) > 0;
      const options = { class: named ? "line" : "line small", points: points(xs, heights[k]) };
      if (named) options.stroke = COLOURS[rank];
      shapes[k] = shape("polyline", options);
      drawn.svg.append(shapes[k]);
      if (lambdas.length === 1) drawn.svg.append(shape("circle", { class: "dot", cx: xs[0], cy: heights[k][0], r: 3 }));
    }
    labels(drawn.svg, order.slice(0, NAMED).filter((k) => size(k) > 0).map((k, rank) =>
      ({ name: lines[k].name, y: heights[k][last], colour: COLOURS[rank] })), height);
    const cursor = shape("line", { class: "cursor hidden", y1: TOP, y2: height - BOTTOM });
    drawn.svg.append(cursor);
    let lit = null;
    const dim = () => {
      if (lit) lit.classList.remove("lit");
      lit = null;
      cursor.classList.add("hidden");
    };
    hover(drawn, (px, py) => {
      dim();
      const k = nearest(xs, px);
      cursor.setAttribute("x1", xs[k]);
      cursor.setAttribute("x2", xs[k]);
      cursor.classList.remove("hidden");
      const head = `lambda ${number(lambdas[k])}: ${active[k].toLocaleString("en")} active`;
      let best = -1;
      for (let j = 0; j < lines.length; j++) {
        if (best < 0 || Math.abs(heights[j][k] - py) < Math.abs(heights[best][k] - py)) best = j;
      }
      if (best < 0 || Math.abs(heights[best][k] - py) > 24) return head;
      lit = shapes[best];
      lit.classList.add("lit");
      return `${lines[best].name}\n${number(lines[best].values[k])}\n${head}`;
    }, dim);
    return drawn.box;
  }

  function curveFigure(title, lambdas, values, scale, tell, options = {}) {
    const height = options.height || 220;
    const x = lambdaAxis(lambdas), y = scale(height);
    const drawn = figure(height, x, y, { title, x: "lambda" });
    const xs = lambdas.map(x.at), ys = values.map((value) => (value === null ? null : y.at(value)));
    if (options.band) {
      const [low, high] = options.band.map((edge) => edge.map(y.at));
      drawn.svg.append(shape("polygon", { class: "band", points: `${points(xs, high)} ${points([...xs].reverse(), [...low].reverse())}` }));
    }
    if (options.area) {
      const floor = height - BOTTOM;
      drawn.svg.append(shape("polygon", { class: "area", points: `${xs[0]},${floor} ${points(xs, ys)} ${xs[xs.length - 1]},${floor}` }));
    } else if (options.dots) {
      xs.forEach((px, k) => drawn.svg.append(shape("circle", { class: "dot", cx: px, cy: ys[k], r: 3 })));
    } else {
      drawn.svg.append(shape("polyline", { class: "line", stroke: "var(--accent)", points: points(xs, ys) }));
    }
    for (const [k, label] of options.marks || []) {
      drawn.svg.append(shape("line", { class: "mark", x1: xs[k], x2: xs[k], y1: TOP, y2: height - BOTTOM }));
      drawn.svg.append(shape("text", { x: xs[k] + 5, y: TOP + 12 }, label));
    }
    hover(drawn, (px) => tell(nearest(xs, px)));
    return drawn.box;
  }

  // A table that sorts by the column whose head is clicked, and shows the rows that have a text.

  function table(heads, rows, label) {
    const numeric = heads.map((_, c) => rows.some((row) => typeof row[c] === "number"));
    const body = element("tbody"), head = element("tr");
    let by = -1, down = true;
    const search = element("input", { type: "search", placeholder: "find", "aria-label": `find in ${label}` });
    const count = element("span", { class: "soft" });
    const cells = rows.map((row) => element("tr", {}, ...row.map((value, c) =>
      element("td", numeric[c] ? { class: "number" } : {}, numeric[c] ? number(value) : String(value)))));
    const show = () => {
      const wanted = search.value.toLowerCase();
      let order = rows.map((_, k) => k).filter((k) => rows[k].some((value) => String(value).toLowerCase().includes(wanted)));
      if (by >= 0) {
        const key = (k) => rows[k][by];
        order.sort((a, b) => (numeric[by] ? key(a) - key(b) : key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0) * (down ? -1 : 1));
      }
      body.replaceChildren(...order.map((k) => cells[k]));
      count.textContent = ` ${order.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    };
    heads.forEach((text, c) => {
      const button = element("button", { type: "button" }, text);
      button.addEventListener("click", () => {
        down = by === c ? !down : numeric[c];
        by = c;
        [...head.children].forEach((cell, i) => cell.setAttribute("aria-sort", i !== c ? "none" : down ? "descending" : "ascending"));
        show();
      });
      head.append(element("th", numeric[c] ? { class: "number" } : {}, button));
    });
    search.addEventListener("input", show);
    show();
    return [element("p", {}, search, count),
      element("div", { class: "scroll" }, element("table", { "aria-label": label }, element("thead", {}, head), body))];
  }

  function pairs(list) {
    return element("dl", {}, ...list.flatMap(([term, text]) => [element("dt", {}, term), element("dd", {}, text)]));
  }

  function section(title, ...children) {
    main.append(element("section", {}, element("h2", {}, title), ...children));
  }

  function paragraph(text, soft) {
    return element("p", soft ? { class: "soft" } : {}, text);
  }

  function proof() {
    const { largest, tol, from, proved, of } = report.certificate;
    const whole = proved === of;
    const text = whole
      ? `Every solution is within ${number(largest)} of optimal, relative to half the null deviance (asked: ${number(tol)}).`
      : `${proved.toLocaleString("en")} of ${of.toLocaleString("en")} solutions are within ${number(tol)} of optimal; the worst within ${number(largest)}.`;
    return element("div", { class: whole ? "proof" : "proof open" }, paragraph(text), paragraph(`Certificate: ${from}.`, true));
  }

  function scoresFigure(scores) {
    const { lambdas, mean, se, name } = scores;
    const sure = se.every((value) => value !== null);
    const low = mean.map((m, k) => m - (sure ? se[k] : 0)), high = mean.map((m, k) => m + (sure ? se[k] : 0));
    const marks = scores.min === scores.one_se ? [[scores.min, "min, 1se"]] : [[scores.min, "min"], [scores.one_se, "1se"]];
    return curveFigure(`${name} against lambda`, lambdas, mean,
      (height) => linear(Math.min(...low), Math.max(...high), height - BOTTOM, TOP),
      (k) => `lambda ${number(lambdas[k])}\n${name} ${number(mean[k])}${sure ? ` ± ${number(se[k])}` : ""}`,
      { height: 320, band: sure ? [low, high] : null, marks });
  }

  function outputSections(output) {
    const parts = [];
    const more = output.hidden ? ` The ${output.lines.length} largest are drawn, ${output.hidden.toLocaleString("en")} smaller ones are not.` : "";
    parts.push(element("h2", {}, "Path"), paragraph(`Coefficients on the original scale, against lambda.${more}`, true), pathFigure(output));
    const { lambdas, active, gap, explained } = output, floor = 1e-17;
    parts.push(paragraph("Active columns, and how much of the deviance they explain.", true),
      curveFigure("active columns", lambdas, active, (height) => linear(0, Math.max(...active, 1), height - BOTTOM, TOP),
        (k) => `lambda ${number(lambdas[k])}\n${active[k].toLocaleString("en")} active\n${number(explained[k])} explained`, { height: 160, area: true }));
    const drawnGap = gap.map((value) => (value === null ? null : Math.max(value, floor)));
    const finite = drawnGap.filter((value) => value !== null);
    if (finite.length) {
      const [least, most] = [Math.min(...finite) / 2, Math.max(...finite, report.certificate.tol) * 2];
      parts.push(paragraph("Duality gap of each solution.", true),
        curveFigure("duality gap", lambdas, drawnGap, (height) => logarithmic(least, most, height - BOTTOM, TOP),
          (k) => `lambda ${number(lambdas[k])}\ngap ${number(gap[k])}`, { dots: true }));
    }
    const cut = output.rows > output.table.length ? ` The ${output.table.length.toLocaleString("en")} largest are listed.` : "";
    parts.push(element("h2", {}, "Model"),
      paragraph(`At ${report.chosen.why}: ${output.rows.toLocaleString("en")} features, intercept ${number(output.intercept)}.${cut}`, true),
      ...table(["feature", "coefficient", "size", "in from lambda"],
        output.table.map(([name, value, lam]) => [name, value, Math.abs(value), lam]), "the model"));
    return parts;
  }

  main.replaceChildren(element("h1", {}, report.title), paragraph(report.versions, true), proof());
  section("What was fitted", pairs(report.facts));
  if (report.scores) {
    section("Cross-validation", paragraph(`Held-out ${report.scores.name}, mean of ${report.scores.folds} folds and one standard error.`, true),
      scoresFigure(report.scores));
  }
  const shown = element("section");
  if (report.outputs.length > 1) {
    const choice = element("select", { "aria-label": "response" },
      ...report.outputs.map((_, j) => element("option", { value: j }, `response ${j}`)));
    choice.addEventListener("change", () => shown.replaceChildren(...outputSections(report.outputs[Number(choice.value)])));
    const more = report.more_outputs ? ` ${report.more_outputs} more are not in this report.` : "";
    section("Responses", element("p", {}, choice, more));
  }
  main.append(shown);
  shown.replaceChildren(...outputSections(report.outputs[0]));
  if (report.history.count) {
    const { rows, count } = report.history;
    const cut = count > rows.length ? ` The first ${rows.length.toLocaleString("en")} of ${count.toLocaleString("en")}.` : "";
    section("What the schedule did", paragraph(`Which feature entered or left at which fit, and why.${cut}`, true),
      ...table(["lambda", "stage", "feature", "event", "why"], rows, "the schedule"));
  }
  section("Cost", pairs(report.cost));
  section("How to do it again", element("pre", {}, report.again.python),
    ...(report.again.command ? [element("pre", {}, report.again.command)] : []), paragraph(report.again.missing, true));
})();
