// The list of jobs: asks the server how they stand, and draws what has changed.
const STAGES = {
  frames: "Choose frames", images: "Read photographs", pairs: "Choose pairs", predict: "Compare pairs",
  align: "Place cameras", export: "Refine and write", refine: "Refine", fuse: "Dense cloud", mesh: "Mesh",
  formats: "Other formats", viewer: "3-D view",
};
const AT_WORK_MS = 1000;
const IDLE_MS = 4000;
const cards = new Map(); // name of a job: its card, and what it was drawn from

export const count = (number) => number.toLocaleString("en");
export function bytes(size) {
  return size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : size < 1e9 ? `${(size / 1e6).toFixed(1)} MB` : `${(size / 1e9).toFixed(1)} GB`;
}
function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
}

export async function ask(method, address, body) {
  let answer;
  try {
    answer = await fetch(address, {
      method, headers: body ? { "Content-Type": "application/json" } : {}, body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new Error("The server does not answer; try again in a moment.");
  }
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.sentence || `The server refused this (${answer.status}).`);
  return said;
}

function make(tag, values = {}, ...inside) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...inside.filter((one) => one !== null && one !== undefined));
  return made;
}

function action(words, kind, act) {
  const made = make("button", { type: "button", className: kind, textContent: words });
  made.onclick = async () => {
    made.disabled = true;
    try { await act(); } catch (error) { alert(error.message); }
    made.disabled = false;
    refresh();
  };
  return made;
}

const post = (job, what) => () => ask("POST", `/api/jobs/${job.name}/${what}`);

function buttons(job) {
  const start = (words) => action(words, "main", post(job, "start"));
  const remove = action("Delete", "quiet", async () => {
    if (job.state !== "done" || confirm("Delete the photographs and the model?")) await ask("DELETE", `/api/jobs/${job.name}`);
  });
  const cancel = action("Cancel", "", post(job, "cancel"));
  const offered = {
    receiving: [start("Make the model"), remove], queued: [cancel], running: [cancel], done: [remove],
    failed: [start("Try again"), remove], cancelled: [start("Go on"), remove],
  };
  return make("p", { className: "buttons" }, ...offered[job.state]);
}

function says(job) {
  const words = {
    receiving: job.files.length ? "Here and ready." : "Nothing arrived that can be used.",
    queued: "Waits for its turn.",
    cancelled: "Cancelled. What was done so far is kept.",
  };
  if (job.state === "done") {
    const { registered, photographs, points, error_px: error } = job.result;
    return make("p", { className: "says" },
      make("span", { className: "good", textContent: `${count(registered)} of ${count(photographs)} photographs` }),
      ` in the model, ${count(points)} points, reprojection error ${error.toFixed(2)} px.`);
  }
  return job.state in words ? make("p", { className: "says", textContent: words[job.state] }) : null;
}

function list(title, sentences, open = false) {
  if (!sentences.length) return null;
  const items = sentences.map((sentence) => make("li", { textContent: sentence }));
  return make("details", { open }, make("summary", { textContent: `${title} (${sentences.length})` }), make("ul", {}, ...items));
}

function progress() {
  return make("div", { className: "progress" }, make("ol", { className: "stages" }),
    make("div", { className: "figures" }, make("span"), make("span")), make("progress", { max: 1 }), make("p", { className: "hint" }));
}

function showProgress(card, standing) {
  const part = card.querySelector(".progress");
  if (!part || !standing) return;
  const known = [...standing.ended, ...(standing.ended.includes(standing.stage) ? [] : [standing.stage])].filter(Boolean);
  part.querySelector("ol").replaceChildren(...[...new Set(known)].map((name) =>
    make("li", { className: name === standing.stage && !standing.ended.includes(name) ? "now" : "over", textContent: STAGES[name] || name })));
  const [what, when] = part.querySelectorAll(".figures span");
  const steps = standing.total ? `, ${count(standing.done)} of ${count(standing.total)}` : "";
  what.textContent = `${standing.phase || STAGES[standing.stage] || "Starting"}${steps}`;
  const left = standing.seconds_left;
  when.textContent = `${duration(standing.seconds)} so far${left === null || left === undefined ? "" : `, about ${duration(left)} left`}`;
  const bar = part.querySelector("progress");
  if (standing.share) bar.value = standing.share; else bar.removeAttribute("value");
  part.querySelector(".hint").textContent = standing.notes.at(-1) || "";
}

function results(job) {
  if (job.state !== "done") return [];
  const address = (name) => `/jobs/${job.name}/${name}`;
  const frame = make("iframe", { title: "Model" });
  frame.setAttribute("sandbox", "allow-scripts allow-popups");
  const tabs = [["Model", "viewer.html"], ["Report", "report.html"]].map(([words, name]) => {
    const tab = make("button", { type: "button", textContent: words });
    tab.onclick = () => {
      for (const other of tabs) other.setAttribute("aria-selected", String(other === tab));
      frame.title = words;
      frame.src = `${address(name)}?show=true`;
    };
    return tab;
  });
  const shown = make("div", {}, make("div", { className: "tabs" }, ...tabs), frame,
    make("p", { className: "hint", textContent: "Drag turns the model, the wheel or two fingers zoom, the right button or two fingers move it. The button in the corner shows and hides parts; the mesh is hidden at first." }));
  const lookAt = action("Look at it", "", async () => { lookAt.remove(); shown.hidden = false; tabs[0].click(); });
  shown.hidden = true;
  if (![...cards.values()].some((card) => card.element.querySelector("iframe[src]"))) {
    shown.hidden = false; // one model at a time: each takes the graphics card's memory
    tabs[0].click();
  }
  const links = job.downloads.map(({ name, says: what }) =>
    make("li", {}, make("a", { href: address(name), textContent: name, download: name }), make("span", { textContent: what })));
  return [shown.hidden ? lookAt : null, shown, make("ul", { className: "downloads" }, ...links),
    list("Left out", Object.entries(job.result.left_out).map(([name, reason]) => `${name}: ${reason}`), true),
    list("Warnings", job.result.warnings)];
}

function draw(job) {
  const kinds = `${count(job.files.length)} ${job.files.length === 1 ? "file" : "files"}`;
  const title = job.files.length ? `${job.files[0]}${job.files.length > 1 ? ` and ${count(job.files.length - 1)} more` : ""}` : "No photographs yet";
  const made = new Date(job.created * 1000).toLocaleString();
  return make("article", { className: "card", id: `job-${job.name}` },
    make("div", { className: "head" }, make("h2", { textContent: title }), make("span", { className: "hint", textContent: `${kinds}, ${bytes(job.size)}, ${made}` })),
    says(job), job.state === "running" ? progress() : null,
    job.sentence ? make("p", { className: "problem", textContent: job.sentence }) : null,
    list("Not taken", job.refused, true), ...results(job), buttons(job));
}

function show(state) {
  const home = document.getElementById("jobs");
  const names = new Set(state.jobs.map((job) => job.name));
  for (const [name, card] of cards) if (!names.has(name)) { card.element.remove(); cards.delete(name); }
  let before = null;
  for (const job of state.jobs) {
    const { standing, ...rest } = job;
    const drawn = JSON.stringify(rest);
    let card = cards.get(job.name);
    if (!card || card.drawn !== drawn) {
      const element = draw(job);
      if (card) card.element.replaceWith(element); else if (before) before.after(element); else home.prepend(element);
      card = { element, drawn };
      cards.set(job.name, card);
    }
    showProgress(card.element, standing);
    before = card.element;
  }
}

let told = () => {};
let timer = 0;
export async function refresh() {
  clearTimeout(timer);
  let wait = IDLE_MS;
  try {
    const state = await ask("GET", "/api/jobs");
    document.getElementById("offline").hidden = true;
    told(state);
    show(state);
    if (state.jobs.some((job) => ["queued", "running"].includes(job.state))) wait = AT_WORK_MS;
  } catch {
    document.getElementById("offline").hidden = false;
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, wait);
}

export function watch(listener) {
  told = listener;
  refresh();
}
