// Requests with the token of this tab, and a job's stream of events, which is taken up again where it broke off.

const KEY = "distlasso-token";
let ask = null; // shows the dialog for a token; resolves when there is one

export const token = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
};

export function onTokenWanted(show) { ask = show; }

export class Problem extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

async function send(path, options = {}) {
  for (;;) {
    const headers = { ...options.headers };
    const mine = token.get();
    if (mine) headers.Authorization = `Bearer ${mine}`;
    const response = await fetch(path, { ...options, headers, cache: "no-store" });
    if (response.status !== 401) return response;
    await ask(mine ? "The service does not accept this token: it may have expired or been revoked." : "");
  }
}

async function checked(response) {
  if (response.ok) return response;
  const about = await response.json().catch(() => ({ detail: `the service answered ${response.status}` }));
  throw new Problem(response.status, about.detail);
}

export async function get(path) { return (await checked(await send(path))).json(); }

export async function post(path, body, headers = {}) {
  const options = { method: "POST", headers: { ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  return (await checked(await send(path, options))).json();
}

export async function download(path, name) {
  const blob = await (await checked(await send(path))).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// Calls `take(kind, data)` for every record until the job is over or the signal is aborted.
export async function watch(job, take, signal) {
  let last = "0";
  for (;;) {
    try {
      const response = await checked(await send(`/v1/jobs/${job}/events`, { headers: { "Last-Event-ID": last }, signal }));
      for await (const record of records(response.body)) {
        last = record.id;
        take(record.event, JSON.parse(record.data));
        if (record.event === "end") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Problem && error.status !== 429 && error.status < 500) throw error;
    }
    await new Promise((wake) => setTimeout(wake, 1000));
  }
}

async function* records(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const record = {};
      for (const line of part.split("\n")) {
        const colon = line.indexOf(": ");
        if (colon > 0) record[line.slice(0, colon)] = line.slice(colon + 2);
      }
      if (record.event) yield record;
    }
  }
}
