// What stands below the panels follows them: the breakdown, the calls, and the totals of the whole range.

import { ask } from "./asking.js";

// Each look asks three questions and more; the panels themselves follow every second.
const LOOK_MS_MIN = 2_000;

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
      atMs: 0,
      timer: 0,
    });
  }

  /** Asks at once, for as long as `signal` lets; what was under way for what was shown before is let go. */
  async look(signal) {
    this.looking?.abort();
    clearTimeout(this.timer);
    const mine = new AbortController();
    Object.assign(this, { signal, looking: mine, again: false, atMs: performance.now() });
    const both = AbortSignal.any([signal, mine.signal]);
    await Promise.all(Object.entries(this.questions()).map((one) => this.answer(...one, both)));
    if (this.looking !== mine) return;
    this.looking = null;
    if (this.again) this.soon();
  }

  /** Asks again, though not all the time, and not before the last answers are there. */
  soon() {
    this.again = this.looking !== null;
    if (this.again || this.signal?.aborted) return;
    clearTimeout(this.timer);
    const waitMs = Math.max(0, this.atMs + LOOK_MS_MIN - performance.now());
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
