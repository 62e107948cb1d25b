// The scenarios, the same as in foreign/python/scenarios.py, where they are explained.
//
// In a planted run every scenario expects a payload that nobody sends, so all of them have to fail.

import { ANSWER_MILLIS, Refused, open, within, wrong } from "./client.js";

const WILL_DELAY_MILLIS = 1000;
const CLOCK_SLACK_MILLIS = 100;
const RECEIVE_MAXIMUM = 2;
const BURST = 60;
// For one scenario, whatever it waits for.
const SCENARIO_MILLIS = 40_000;
// Characters of an explanation.
const WHY_MAX = 600;

class Bench {
  constructor(mqtt, settings, name) {
    this.mqtt = mqtt;
    this.settings = settings;
    this.name = name;
    this.topic = `${settings.topics}/${name}`;
    this.opened = [];
  }

  open(role, filters = [], options = {}) {
    const clientId = `${this.settings.client}-${this.settings.transport}-${this.name}-${role}`;
    return this.openAs(this.settings, { clientId, subscribe: filters, ...options });
  }

  async openAs(settings, options) {
    const connection = await open(this.mqtt, settings, options);
    this.opened.push(connection);
    return connection;
  }

  expected(payloads) {
    return this.settings.plantWrong ? payloads.map((payload) => `planted ${payload}`) : payloads;
  }

  async expect(connection, payloads) {
    const came = [];
    while (came.length < payloads.length) {
      came.push(await connection.next());
    }
    equal(came.map((message) => message.payload), this.expected(payloads));
    return came;
  }

  end() {
    this.opened.forEach((connection) => connection.client.end(true));
  }
}

function equal(actual, expected) {
  const [is, should] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (is !== should) {
    throw new Error(`expected ${should}, but got ${is}`);
  }
}

function numbered(what, count) {
  return Array.from({ length: count }, (_, number) => `${what} ${String(number).padStart(2, "0")}`);
}

async function connect(bench) {
  for (const version of [4, 5]) {
    const connection = await bench.open(`v${version}`, [bench.topic], { version });
    await connection.publish(bench.topic, "hello");
    await bench.expect(connection, ["hello"]);
    await connection.close();
  }
  try {
    await bench.openAs(wrong(bench.settings), { clientId: "stranger" });
  } catch (error) {
    if (error instanceof Refused) {
      return;
    }
    throw error;
  }
  throw new Error("a wrong credential was let in");
}

async function qos(bench, level) {
  const subscriber = await bench.open("sub", [bench.topic], { qos: level });
  const publisher = await bench.open("pub");
  const payloads = numbered("message", 5);
  for (const payload of payloads) {
    await publisher.publish(bench.topic, payload, { qos: level });
  }
  const came = await bench.expect(subscriber, payloads);
  equal(came.map((message) => message.qos), payloads.map(() => level));
}

async function retained(bench) {
  const publisher = await bench.open("pub");
  await publisher.publish(bench.topic, "kept", { qos: 1, retain: true });
  const early = await bench.open("early", [bench.topic], { qos: 1 });
  const [kept] = await bench.expect(early, ["kept"]);
  equal(kept.retain, true);
  await publisher.publish(bench.topic, "", { qos: 1, retain: true });
  const late = await bench.open("late", [bench.topic], { qos: 1 });
  await publisher.publish(bench.topic, "live", { qos: 1 });
  const [live] = await bench.expect(late, ["live"]);
  equal(live.retain, false);
}

async function willDelay(bench) {
  const topic = `${bench.topic}/will`;
  const watcher = await bench.open("watcher", [topic], { qos: 1 });
  const mortal = await bench.open("mortal", [], {
    expirySecs: 60,
    will: { topic, payload: "gone", qos: 1 },
    willDelaySecs: WILL_DELAY_MILLIS / 1000,
  });
  const lost = performance.now();
  mortal.lose();
  await bench.expect(watcher, ["gone"]);
  const waited = performance.now() - lost;
  if (waited < WILL_DELAY_MILLIS - CLOCK_SLACK_MILLIS) {
    throw new Error(`the will came after ${waited} ms, before its delay`);
  }
}

async function shared(bench) {
  const filter = `$share/workers/${bench.topic}`;
  const workers = [];
  for (const number of [0, 1]) {
    workers.push(await bench.open(`worker${number}`, [filter], { qos: 1 }));
  }
  const publisher = await bench.open("pub");
  const payloads = numbered("job", 20);
  const done = [[], []];
  const all = new Promise((resolve) => {
    workers.forEach((worker, number) => {
      worker.client.on("message", (_topic, payload) => {
        done[number].push(new TextDecoder().decode(payload));
        if (done[0].length + done[1].length === payloads.length) {
          resolve();
        }
      });
    });
  });
  for (const payload of payloads) {
    await publisher.publish(bench.topic, payload, { qos: 1 });
  }
  await within(ANSWER_MILLIS, "a job", all);
  // Each message once, and nobody got all of them.
  equal(done.flat().sort(), bench.expected(payloads));
  equal(done.map((part) => part.length > 0), [true, true]);
}

async function persistent(bench) {
  const first = await bench.open("sleeper", [bench.topic], { qos: 1, expirySecs: 300 });
  equal(first.sessionPresent, false);
  await first.close();
  const publisher = await bench.open("pub");
  const payloads = numbered("while away", 5);
  for (const payload of payloads) {
    await publisher.publish(bench.topic, payload, { qos: 1 });
  }
  const second = await bench.open("sleeper", [], { clean: false, expirySecs: 300 });
  equal(second.sessionPresent, true);
  await bench.expect(second, payloads);
}

async function properties(bench) {
  const subscriber = await bench.open("sub", [bench.topic], { qos: 1 });
  const publisher = await bench.open("pub");
  const sent = {
    contentType: "application/json; charset=utf-8",
    responseTopic: `${bench.topic}/answers`,
    correlationData: Uint8Array.of(0, 0xff, 0x69, 0x64),
    userProperties: { a: ["1", "2"], unit: "°C", b: "" },
  };
  await publisher.publish(bench.topic, "with properties", { qos: 1, properties: sent });
  const [came] = await bench.expect(subscriber, ["with properties"]);
  equal(came.contentType, sent.contentType);
  equal(came.responseTopic, sent.responseTopic);
  equal(came.correlationData, [...sent.correlationData]);
  equal(came.userProperties, sent.userProperties);
}

async function flowIn(bench) {
  const [data, marker] = [`${bench.topic}/data`, `${bench.topic}/marker`];
  const options = { qos: 1, receiveMaximum: RECEIVE_MAXIMUM, holdAcks: true };
  const subscriber = await bench.open("sub", [data, marker], options);
  const publisher = await bench.open("pub");
  const payloads = numbered("message", 6);
  for (const payload of payloads) {
    await publisher.publish(data, payload, { qos: 1 });
  }
  // QoS 0 is not counted: it comes past the messages that have to wait.
  await publisher.publish(marker, "marker");
  await subscriber.wire.untilPublish("marker");
  // npm mqtt hands over one at a time, so what came before the marker is counted on the wire.
  equal(subscriber.wire.publishes.length, RECEIVE_MAXIMUM + 1);
  subscriber.release();
  const came = [];
  while (came.length < payloads.length + 1) {
    came.push(await subscriber.next());
  }
  const ordered = came.filter((message) => message.topic === data);
  equal(ordered.map((message) => message.payload), bench.expected(payloads));
}

async function flowOut(bench) {
  const subscriber = await bench.open("sub", [bench.topic], { qos: 2 });
  const publisher = await bench.open("pub");
  const payloads = numbered("message", BURST);
  await publisher.publishAll(bench.topic, payloads, { qos: 2 });
  await bench.expect(subscriber, payloads);
}

const SCENARIOS = {
  connect,
  qos0: (bench) => qos(bench, 0),
  qos1: (bench) => qos(bench, 1),
  qos2: (bench) => qos(bench, 2),
  retained,
  will_delay: willDelay,
  shared,
  persistent,
  properties,
  flow_in: flowIn,
  flow_out: flowOut,
};

/** Runs all; `tell` gets a line for each, `ok NAME` or `not ok NAME: why`. */
export async function run(mqtt, settings, tell) {
  for (const [name, scenario] of Object.entries(SCENARIOS)) {
    const bench = new Bench(mqtt, settings, name);
    try {
      await within(SCENARIO_MILLIS, "its end", scenario(bench));
      tell(`ok ${name}`);
    } catch (error) {
      const why = `${error.name}: ${error.message}`.replace(/\s+/g, " ").slice(0, WHY_MAX);
      tell(`not ok ${name}: ${why}`);
    } finally {
      bench.end();
    }
  }
}
