"use strict";
// The page of one job. What the api answers is shown as text, never as markup.

const TOKEN = "heliograph-token";
const LOOK_SECONDS = 2; // the api answers after so long, or at once where the job is over
const HIDDEN_SECONDS = 25; // while nobody looks
const AGAIN_SECONDS = 3;
const MOST_LOG = 2_000_000; // characters; a browser shows more with difficulty
const ZONED = {
  year: "numeric", month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
  timeZoneName: "short",
};
const MASK = "**********"; // what the api shows of a secret
const OVER = new Set(["done", "failed", "cancelled"]);

const id = decodeURIComponent(location.pathname.split("/").filter(Boolean).at(-1));
const jobs = new URL("../v1/jobs", location.href).href;
const me = new URL("../v1/me", location.href).href;
const own = `${jobs}/${encodeURIComponent(id)}`;
const $ = (name) => document.getElementById(name);

let job = null;
let looking = null; // the AbortController of the present round
let mayChange = false; // whether whoever reads may have the job run again
let agreed = null; // what is done where the question is answered with yes

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(url, options = {}) {
  const headers = { ...options.headers, Authorization: `Bearer ${sessionStorage.getItem(TOKEN)}` };
  const answer = await fetch(url, { ...options, headers, cache: "no-store", credentials: "omit" });
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({})); // a proxy's is none of ours: its status says all there is
  throw new Refused(answer.status, problem.detail ?? `the service answers ${answer.status}`);
}

function say(name, text) {
  const element = $(name);
  const words = text ?? "";
  if (element.textContent !== words) element.textContent = words; // what is unchanged is not read out again
}

function complain(error) {
  say("fault", error instanceof Refused ? sentence(error.message) : "The service does not answer; try again in a while.");
}

function titled() {
  return job.name ?? job.backend ?? job.queue;
}

function sentence(words) {
  return words && `${words.charAt(0).toUpperCase()}${words.slice(1)}.`;
}

function enter(why) {
  looking?.abort();
  mayChange = false;
  $("job").hidden = true;
  $("entry").hidden = false;
  say("fault", sentence(why));
  $("token").focus();
}

function json(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function when(moment) {
  return moment && new Date(moment).toLocaleString(undefined, ZONED);
}

function duration(from, to) {
  if (!from || !to) return null;
  const seconds = (new Date(to) - new Date(from)) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (bytes >= 1000 && power < units.length - 1) {
    bytes /= 1000;
    power += 1;
  }
  return `${power ? bytes.toFixed(1) : bytes} ${units[power]}`;
}

function showFacts() {
  const facts = [
    ["Job", job.id], [job.backend ? "Backend" : "Queue", job.backend ?? job.queue], ["Group", job.group],
    ["By", job.owner], ["Requested", when(job.created_at)], ["Begun", when(job.started_at)],
    ["Ended", when(job.ended_at)], ["Ran", duration(job.started_at, job.ended_at)],
    ["Attempt", job.attempt > 1 ? `${job.attempt} of ${job.max_attempts}` : null],
  ];
  $("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => {
    const [term, fact] = [document.createElement("dt"), document.createElement("dd")];
    [term.textContent, fact.textContent] = [name, value];
    return [term, fact];
  }));
}

function showFiles() {
  $("with-files").hidden = job.artifacts.length === 0;
  if ($("files").childElementCount === job.artifacts.length) return; // so that a button keeps its focus
  $("files").replaceChildren(...job.artifacts.map((file) => {
    const [row, about, get] = ["li", "span", "button"].map((kind) => document.createElement(kind));
    about.textContent = `${file.name} (${size(file.bytes)})`;
    get.textContent = "Download";
    get.type = "button";
    get.className = "plain";
    get.setAttribute("aria-label", `Download ${file.name}`);
    get.addEventListener("click", () => download(file, get));
    row.append(about, get);
    return row;
  }));
}

function showActions() {
  const isWithheld = holdsMask(job.parameters);
  $("withheld").hidden = !isWithheld;
  $("repeat").hidden = isWithheld;
  $("again").hidden = !(mayChange && OVER.has(job.state));
  const isWorthAnotherRun = !$("again").hidden && job.state !== "done"; // a result is not lightly given up
  $("again").classList.toggle("plain", !isWorthAnotherRun);
  $("repeat").classList.toggle("plain", isWorthAnotherRun);
}

function show() {
  const isOver = OVER.has(job.state);
  const title = titled();
  say("name", title);
  document.title = `${job.state}: ${title}`;
  say("state", job.cancel_requested && !isOver ? `${job.state}, to be cancelled` : job.state);
  $("state").className = job.state;
  const isKnown = !isOver && typeof job.progress === "number";
  say("stage", isOver ? null : [job.stage, isKnown ? `${Math.round(job.progress * 100)} %` : null].filter(Boolean).join(", "));
  $("progress").hidden = !isKnown;
  if (isKnown) $("progress").value = job.progress;
  say("message", job.error ? `${job.error.kind}: ${job.error.message}` : job.message);
  showFacts();
  showFiles();
  showActions();
  for (const [name, value] of [["parameters", job.parameters], ["result", job.result]]) {
    $(`with-${name}`).hidden = value === null || value === undefined;
    say(name, json(value));
  }
  $("entry").hidden = true;
  $("job").hidden = false;
}

async function look() {
  looking?.abort();
  const round = looking = new AbortController();
  let isFirst = true;
  while (!round.signal.aborted) {
    try {
      const wait = isFirst ? 0 : document.hidden ? HIDDEN_SECONDS : LOOK_SECONDS;
      const answer = await ask(wait ? `${own}?wait=${wait}` : own, { signal: round.signal });
      job = await answer.json();
      say("fault", "");
      show();
      if (isFirst) {
        arrive();
        learnRights(round.signal);
      }
      isFirst = false;
      if (OVER.has(job.state)) return;
    } catch (error) {
      if (round.signal.aborted) return;
      const isFinal = error instanceof Refused && error.status < 500;
      if (isFirst && error.status === 404) return enter("there is no such request, or this token may not see it");
      if (isFinal && (isFirst || error.status === 401)) return enter(error.message);
      complain(error);
      if (isFinal) return;
      await new Promise((go) => setTimeout(go, AGAIN_SECONDS * 1000));
    }
  }
}

async function learnRights(signal) {
  try {
    const { subject, may } = await (await ask(me, { signal })).json();
    const isOwn = subject === job.owner && may.includes("cancel and retry one's own jobs");
    mayChange = isOwn || may.includes("cancel and retry everybody's jobs");
    showActions();
  } catch (error) {
    if (error.name !== "AbortError") complain(error);
  }
}

// Links of messages lead to a place on this page.
function arrive() {
  if (location.hash === "#log") showLog();
  if (location.hash === "#repeat") askToRepeat();
}

async function showLog() {
  const log = $("printed");
  $("show-log").hidden = true;
  log.hidden = false;
  log.textContent = "";
  $("log").scrollIntoView();
  try {
    const answer = await ask(`${own}/log?follow=true`, { signal: looking.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let length = 0;
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      log.append(piece.value);
      length += piece.value.length;
      if (length > MOST_LOG) {
        log.append(`\n… the rest is too long for this page: heliograph log ${id}`);
        await reader.cancel();
        return;
      }
    }
    if (!length) log.textContent = "It printed nothing.";
  } catch (error) {
    if (error.name === "AbortError") return;
    complain(error);
    $("show-log").hidden = false;
  }
}

async function download(file, button) {
  button.disabled = true;
  try {
    const answer = await ask(`${own}/artifacts/${encodeURIComponent(file.name)}`);
    const blob = new Blob([await answer.arrayBuffer()], { type: "application/octet-stream" });
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = file.name.split("/").at(-1);
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  } catch (error) {
    complain(error);
  } finally {
    button.disabled = false;
  }
}

function holdsMask(value) {
  return value === MASK || (typeof value === "object" && value !== null && Object.values(value).some(holdsMask));
}

function askToRepeat() {
  if (holdsMask(job.parameters)) return $("withheld").scrollIntoView();
  const what = `${titled()} is submitted once more with the same parameters, as a new request under your name.`;
  askWhether("Repeat this request?", what, "Submit it again", repeat);
}

function askToRunAgain() {
  const what = `${titled()} runs once more, as the same request: what comes of it takes the place of its result.`;
  askWhether("Run it again?", what, "Run it again", runAgain);
}

function askWhether(title, what, yes, act) {
  if ($("ask").open) return;
  agreed = act;
  say("ask-title", title);
  say("ask-what", what);
  say("ask-yes", yes);
  $("ask").returnValue = ""; // what Escape leaves as it is
  $("ask").showModal();
}

async function runAgain() {
  $("again").disabled = true;
  try {
    await ask(`${own}/retry`, { method: "POST" });
    $("show-log").hidden = false;
    $("printed").hidden = true;
    look();
  } catch (error) {
    complain(error);
  } finally {
    $("again").disabled = false;
  }
}

async function repeat() {
  const kept = ["name", "group", "timeout_seconds", "handler", "max_attempts"];
  const body = Object.fromEntries(kept.filter((name) => job[name] !== null).map((name) => [name, job[name]]));
  Object.assign(body, job.backend ? { backend: job.backend } : { queue: job.queue }, { parameters: job.parameters ?? {} });
  const key = Array.from(crypto.getRandomValues(new Uint8Array(16)), (each) => each.toString(16).padStart(2, "0")).join("");
  $("repeat").disabled = true;
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    const again = await (await ask(jobs, { method: "POST", headers, body: JSON.stringify(body) })).json();
    location.assign(encodeURIComponent(again.id));
  } catch (error) {
    complain(error);
    $("repeat").disabled = false;
  }
}

$("entry").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value.trim());
  $("token").value = "";
  look();
});
$("forget").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  enter("");
});
$("show-log").addEventListener("click", showLog);
$("repeat").addEventListener("click", askToRepeat);
$("again").addEventListener("click", askToRunAgain);
$("ask").addEventListener("close", () => {
  if ($("ask").returnValue === "yes") agreed();
});
addEventListener("hashchange", () => job && arrive());

if (sessionStorage.getItem(TOKEN)) look();
else enter("");
