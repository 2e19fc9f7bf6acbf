// Sends a call to callmeter over HTTP: node --experimental-strip-types produce.ts [GATEWAY]   (Node 22 or newer; no packages)
const gateway: string = process.argv[2] ?? "http://127.0.0.1:8080";

type Usage = Record<string, { input_tokens: number; output_tokens: number }>;
type Call = { project_id: string; id: string; op_name: string; started_at: string; ended_at: string; summary: { usage: Usage } };

async function send(calls: Call[]): Promise<void> {
  for (let tries = 0; tries < 10; tries++) {
    const response = await fetch(`${gateway}/v2/acme/agents/calls/complete`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: "Basic " + Buffer.from(`api:${process.env.CALLMETER_KEY ?? ""}`).toString("base64"),
      },
      body: JSON.stringify({ batch: calls }),
    });
    if (response.ok) return; // the broker has acknowledged all of them
    if (response.status !== 429 && response.status < 500) throw new Error(`${response.status} ${await response.text()}`);
    await new Promise((later) => setTimeout(later, 1000 * Number(response.headers.get("retry-after") ?? 1)));
  }
  throw new Error("the gateway did not take the calls");
}

const begun = new Date();
const call: Call = {
  project_id: "acme/agents",
  id: crypto.randomUUID(),
  op_name: "llm",
  started_at: begun.toISOString(),
  ended_at: new Date(begun.getTime() + 100).toISOString(),
  summary: { usage: { "gpt-4o": { input_tokens: 1200, output_tokens: 150 } } },
};
await send([call]);
console.log(call.id);
