// node-resque told what to do, line by line on standard input: one process for many tests, and for several Redis at a time.
// {"n", "redis", "do": "queue", "method", "args"}          a method of Queue
// {"n", "redis", "do": "failure", "method", "index"}       a method of Queue with the failure at that index, as node read it
// {"n", "redis", "do": "begin", "kind", "options", "jobs"} a Worker, MultiWorker or Scheduler; what it says comes as events
// {"n", "redis", "do": "end"}                              the end of all that was begun for that Redis
import { createInterface } from "node:readline";
import { connect, emit, fail, MultiWorker, Queue, Scheduler, sleep, Worker } from "./common.mjs";

console.log = console.error; // Noop says what it forgives
const places = new Map(); // URL -> its queue and what runs there
const kinds = { Worker, MultiWorker, Scheduler };
const text = (err) => String(err?.message ?? err);

// spec: {classes, sleepMs, fail: [class, …], failures: {class: how often}, message, plugins, pluginOptions}
function jobs(spec = {}) {
  const left = { ...spec.failures };
  const definition = (name) => ({
    plugins: spec.plugins ?? [],
    pluginOptions: structuredClone(spec.pluginOptions ?? {}),
    perform: async (...args) => {
      await sleep(spec.sleepMs ?? 0);
      if (spec.fail?.includes(name) || left[name]-- > 0) throw new TypeError(spec.message ?? "interop failure");
      return args;
    },
  });
  return Object.fromEntries((spec.classes ?? ["SendMail"]).map((name) => [name, definition(name)]));
}

async function place(redis) {
  if (!places.has(redis)) {
    const link = connect({ redis, namespace: "resque" });
    const queue = new Queue({ connection: link.connection }, jobs());
    queue.on("error", (err) => emit({ event: "error", redis, error: text(err) }));
    await queue.connect();
    places.set(redis, { link, queue, running: [] });
  }
  return places.get(redis);
}

function listen(one, kind, redis) {
  const say = (event, ...names) =>
    one.on(event, (...values) => {
      const own = kind === "MultiWorker" && event !== "multiWorkerAction" ? values.splice(event === "error" ? 1 : 0, 1) : [];
      const named = Object.fromEntries(names.map((name, at) => [name, values[at] instanceof Error ? text(values[at]) : values[at]]));
      emit({ event, redis, kind, worker: own[0], ...named });
    });
  say("start");
  say("error", "error", "queue");
  if (kind === "Scheduler") {
    say("leader");
    say("transferredJob", "timestamp", "job");
    say("cleanStuckWorker", "name", "failure", "delta");
  } else {
    say("success", "queue", "job", "result");
    say("failure", "queue", "job", "failure");
    say("reEnqueue", "queue", "job", "info");
    say("job", "queue", "job");
  }
}

async function begin(at, { redis, kind, options, jobs: spec }) {
  const link = connect({ redis, namespace: "resque" }); // its own: node-resque does not share a client well
  const settings = { timeout: 20, ...options, connection: link.connection };
  const one = new kinds[kind](settings, jobs(spec));
  listen(one, kind, redis);
  if (one.connect) await one.connect();
  await one.start();
  at.running.push(async () => {
    await one.end();
    await link.close();
  });
  return { name: one.name };
}

async function act(order) {
  const at = await place(order.redis);
  if (order.do === "queue") return at.queue[order.method](...order.args);
  if (order.do === "failure") {
    const [entry] = await at.queue.failed(order.index, order.index);
    return at.queue[order.method](entry);
  }
  if (order.do === "begin") return begin(at, order);
  for (const end of at.running.splice(0)) await end();
  return null;
}

emit({ event: "ready", pid: process.pid });
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  act(order).then(
    (value) => emit({ event: "reply", n: order.n, value: value ?? null }),
    (err) => emit({ event: "reply", n: order.n, error: text(err) }),
  );
}
for (const { queue, link, running } of places.values()) {
  for (const end of running.splice(0)) await end().catch(fail);
  await queue.end();
  await link.close();
}
process.exit(0);
