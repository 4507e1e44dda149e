// What the events of a job add up to: its figures, and the curves as far as they are known.

const FIGURES = ["fit_started", "batch_verified", "ingest_progress"];

export class Live {
  constructor(tol = 1e-6) {
    this.tol = tol;
    this.figures = {};
    this.speeds = [];
    this.clear();
  }

  clear() {
    Object.assign(this, { lambdas: [], counts: [], gaps: [], columns: new Map() });
  }

  take(kind, data) {
    if (FIGURES.includes(kind)) Object.assign(this.figures, data);
    if (kind === "state") {
      if (data.state === "running" && data.attempt !== this.attempt) { this.began = data.at; this.attempt = data.attempt; }
      this.ended = data.state === "running" ? undefined : data.at;
    }
    if (kind === "pass_finished") this.pass(data);
    if (kind === "path_grown" && !data.fit) this.grown(data);
  }

  pass(data) {
    const read = data.bytes_read - (data.number > 1 ? this.figures.bytes_read ?? 0 : 0);
    if (data.number === 1) this.speeds = [];
    if (data.seconds > 0 && read > 0) this.speeds.push([data.number, read / data.seconds / 1e9]);
    this.figures.passes = data.number;
    this.figures.bytes_read = data.bytes_read;
  }

  // A path that begins again, after a resumption or for another candidate, replaces the last one.
  grown(data) {
    if (this.lambdas.length && data.lambdas[0] >= this.lambdas[this.lambdas.length - 1]) this.clear();
    data.lambdas.forEach((lam, k) => {
      this.lambdas.push(lam);
      this.counts.push([lam, data.n_active[k]]);
      this.gaps.push([lam, data.gaps[k]]);
      data.columns.forEach((column, j) => {
        if (!this.columns.has(column)) this.columns.set(column, []);
        this.columns.get(column).push([lam, data.coef[k][j]]);
      });
    });
  }

  curves() {
    const seen = [...this.columns].map(([column, points], j) => ({ key: `x${column}`, color: j, points }));
    const last = this.lambdas[this.lambdas.length - 1]; // columns that are no longer among the largest are left out
    return seen.filter(({ points }) => points[points.length - 1][0] === last);
  }

  elapsed() {
    return this.began === undefined ? undefined : (this.ended ?? Date.now() / 1000) - this.began;
  }
}
