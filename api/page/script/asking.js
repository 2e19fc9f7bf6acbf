// Asks the api: one question, or a question that is answered again whenever its answer changes.

const KEY = "callmeter-key"; // in the session's storage: gone with the tab
const POLL_MS = 1_000,
  RETRY_MS_MIN = 1_000,
  RETRY_MS_MAX = 10_000;

const NOT_REACHED = "The api cannot be reached.";

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

/** What is known of the api beside its answers; `onfresh` is called with every answer that says how fresh it is. */
export const api = { asOfMs: null, aheadMs: 0, projectKnown: true, onfresh: () => {}, onkey: () => {} };

/** The api's now: its clock is not this machine's, and may be told to stand still. */
export function apiNowMs() {
  return Date.now() + api.aheadMs;
}

export function setKey(key) {
  key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY);
}

export function hasKey() {
  return sessionStorage.getItem(KEY) !== null;
}

function headers(more) {
  const key = sessionStorage.getItem(KEY);
  return key ? { ...more, Authorization: `Basic ${btoa(`api:${key}`)}` } : more;
}

// Without the browser's own credentials: it would put its own box over the page when a key is asked for.
async function send(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "omit", cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, NOT_REACHED);
  }
  if (response.ok) return response;
  if (response.status === 401) api.onkey();
  throw new Refused(response.status, await sentenceOf(response));
}

/** What a response says; a body that is cut off is as if the api had not been reached. */
async function bodyOf(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, NOT_REACHED);
  }
}

async function sentenceOf(response) {
  if (response.status === 503) return "The api is up, its store is away or it is busy. Asking again.";
  if (response.status === 404) return "This api does not answer that question.";
  try {
    const { detail } = await response.json();
    return typeof detail === "string"
      ? detail
      : detail
          .map(({ loc, msg }) => `${loc.filter((part) => part !== "body").join(".")}: ${msg}`.replace(/^: /, ""))
          .join("; ");
  } catch {
    return `The api answered ${response.status}.`;
  }
}

function noteFreshness({ headers: told }) {
  const asOf = told.get("x-data-as-of"),
    lag = told.get("x-data-lag-seconds");
  api.projectKnown = told.get("x-project-known") !== "false";
  if (asOf !== null && lag !== null) {
    api.asOfMs = Date.parse(asOf);
    api.aheadMs = api.asOfMs + Number(lag) * 1000 - Date.now();
  } else if (asOf === null) api.asOfMs = null;
  api.onfresh();
}

/** The answer to one question. Raises Refused, or AbortError. */
export async function ask(path, question, signal) {
  const body = JSON.stringify(question);
  const response = await send(path, {
    method: "POST",
    body,
    headers: headers({ "Content-Type": "application/json" }),
    signal,
  });
  const answer = await bodyOf(response);
  if (question.project_id) noteFreshness(response);
  return answer;
}

/** `GET /projects`: those the key may read. */
export async function askProjects() {
  return (await bodyOf(await send("/projects", { headers: headers({}) }))).projects;
}

/** How fresh the project's answers are, without any answer. */
export function askFreshness(project) {
  return ask("/calls/stats", { project_id: project, start: new Date(apiNowMs() - 60_000).toISOString() });
}

/** The command line that asks the same. */
export function curlOf(path, question) {
  const user = hasKey() ? ` -u "api:$KEY"` : "";
  const body = JSON.stringify(question, null, 2).replace(/\n\s*/g, " ").replaceAll("'", "'\\''");
  return `curl -s${user} ${location.origin}${path} -H 'content-type: application/json' -d '${body}'`;
}

/**
 * Follows a question until `signal` ends it: `onanswer` is called with the first answer and with each that differs,
 * `ontrouble` with a Refused while there is none. Asks each second where the api has no stream.
 */
export async function follow(path, question, { onanswer, ontrouble, signal }) {
  let resume = "",
    waitMs = RETRY_MS_MIN,
    streams = true;
  while (!signal.aborted) {
    try {
      if (streams) {
        for await (const event of events(path, question, resume, signal)) {
          resume = event.id || resume;
          waitMs = RETRY_MS_MIN;
          onanswer(JSON.parse(event.data), resume);
        }
      } else {
        onanswer(await ask(path, question, signal));
        waitMs = POLL_MS;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (streams && error.status === 404) {
        streams = false;
        continue;
      }
      ontrouble(error);
      if ([400, 401, 403, 422].includes(error.status)) return; // asking again would change nothing
      waitMs = Math.min(RETRY_MS_MAX, waitMs * 2);
    }
    await pause(waitMs, signal);
  }
}

/** The events of a stream. `fetch`, since an EventSource can send no key. */
async function* events(path, question, resume, signal) {
  const url = `/calls/stream?path=${path}&question=${encodeURIComponent(JSON.stringify(question))}`;
  const response = await send(url, { headers: headers(resume ? { "Last-Event-ID": resume } : {}), signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "",
    event = {};
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (pending + value).split("\n");
    pending = lines.pop();
    for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
      const field = /^(\w+): ?(.*)$/.exec(line);
      if (field) event[field[1]] = field[2];
      else if (line === "" && event.data) {
        yield event;
        event = {};
      }
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
