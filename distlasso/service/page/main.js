// The page: which view the address names, and the dialog for a token.

import { onTokenWanted, token } from "./api.js";
import { h } from "./dom.js";
import * as job from "./job.js";
import * as jobs from "./jobs.js";
import * as submit from "./submit.js";

const main = document.getElementById("main");
const dialog = document.getElementById("token-dialog");
let leaving = new AbortController();
let asked = null;

function wantToken(why) {
  asked ??= new Promise((done) => {
    const problem = document.getElementById("token-problem");
    problem.textContent = why;
    problem.hidden = !why;
    dialog.showModal();
    dialog.addEventListener("close", () => {
      const input = document.getElementById("token");
      if (input.value.trim()) token.set(input.value.trim());
      input.value = "";
      asked = null;
      done();
    }, { once: true });
  });
  return asked;
}

async function route() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  jobs.mark();
  main.replaceChildren(); // what is left could be typed into until the next view is there
  const [, view, id] = location.hash.split("/");
  try {
    if (view === "jobs" && id) await job.show(main, id, signal);
    else await submit.show(main, signal);
  } catch (error) {
    if (!signal.aborted) main.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
  }
}

onTokenWanted(wantToken);
document.getElementById("token-button").addEventListener("click", () => wantToken(""));
addEventListener("hashchange", route);
route();
jobs.start();
