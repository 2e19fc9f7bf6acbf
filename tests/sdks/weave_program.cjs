// Traces with Weave's TypeScript SDK as it is: nested ops, an answer like OpenAI's, an exception; prints what it did.
const weave = require("weave");

const ANSWER = { model: "gpt-4o", choices: [], usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 } };
const summarize = (answer) => ({ usage: { [answer.model]: { requests: 1, ...answer.usage } } });

async function main() {
  await weave.init("ent/proj");
  const llm = weave.op(async function llm() { return ANSWER; }, { summarize });
  const tool = weave.op(async function tool() { return await llm(); });
  const agent = weave.op(async function agent() { await tool(); await llm(); return "done"; });
  const broken = weave.op(async function broken() { throw new Error("no"); });
  await agent();
  await Promise.all([agent(), agent()]);
  await broken().catch(() => {});
  await new Promise((later) => setTimeout(later, 2000)); // the SDK sends by itself, in the background
  console.log("\n" + JSON.stringify({ calls: 3 * 4 + 1, errors: 1, leaves: 3 * 2 }));
}

main();
