// What stands below the panels follows them: the breakdown, the calls, and the totals of the whole range.

import { ask } from "./asking.js";

// The panels follow once a second, and what stands below them with them; where a look takes long, less often: each
// asks three questions and more.
const LOOK_MS_MIN = 750,
  LOOKS_PAUSE_MIN = 3; // from the end of a look to the next, in times that it took

export class Details {
  /** `questions()` gives `{name: [path, question]}` of the view; `onanswer(name, answer)`, `ontrouble(name, sentence)`. */
  constructor({ questions, onanswer, ontrouble }) {
    Object.assign(this, {
      questions,
      onanswer,
      ontrouble,
      signal: null,
      looking: null,
      again: false,
      nextMs: 0,
      timer: 0,
    });
  }

  /** Asks at once, for as long as `signal` lets; what was under way for what was shown before is let go. */
  async look(signal) {
    this.looking?.abort();
    clearTimeout(this.timer);
    const mine = new AbortController();
    const begunMs = performance.now();
    Object.assign(this, { signal, looking: mine, again: false });
    const both = AbortSignal.any([signal, mine.signal]);
    await Promise.all(Object.entries(this.questions()).map((one) => this.answer(...one, both)));
    if (this.looking !== mine) return;
    this.looking = null;
    const tookMs = performance.now() - begunMs;
    this.nextMs = begunMs + Math.max(LOOK_MS_MIN, tookMs * (1 + LOOKS_PAUSE_MIN));
    if (this.again) this.soon();
  }

  /** Asks again, though not all the time, and not before the last answers are there. */
  soon() {
    this.again = this.looking !== null;
    if (this.again || this.signal?.aborted) return;
    clearTimeout(this.timer);
    const waitMs = Math.max(0, this.nextMs - performance.now());
    this.timer = setTimeout(() => this.signal.aborted || this.look(this.signal), waitMs);
  }

  async answer(name, [path, question], signal) {
    try {
      const answer = await ask(path, question, signal);
      if (!signal.aborted) this.onanswer(name, answer);
    } catch (error) {
      if (error.name !== "AbortError") this.ontrouble(name, error.message);
    }
  }
}
