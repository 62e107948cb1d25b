// npm mqtt, in Node and in a browser: what a scenario may ask of it.

// Milliseconds a scenario waits for a message, an acknowledgement or an answer.
export const ANSWER_MILLIS = 15_000;

// What MQTT 5.0 says if the broker names no Receive Maximum [MQTT-3.2.2-21].
const RECEIVE_MAXIMUM_DEFAULT = 65_535;

/** The broker refused the connection. */
export class Refused extends Error {}

/** Rejects what takes too long. */
export function within(millis, what, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come`)), millis);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** The options of npm mqtt for where the broker is and who we are. */
export function addressOf(settings) {
  const { transport, host, port, path } = settings;
  const protocol = { tls: "mqtts", mtls: "mqtts", ws: "ws", wss: "wss" }[transport];
  const who = transport === "mtls"
    ? { cert: settings.cert, key: settings.key }
    : { username: settings.user, password: settings.password };
  // A browser has its own list of CAs, and leaves `ca` unread.
  return { protocol, host, port, path, ca: settings.ca, ...who };
}

/** The same settings with a credential that must be refused. */
export function wrong(settings) {
  if (settings.transport === "mtls") {
    return { ...settings, cert: undefined, key: undefined };
  }
  return { ...settings, password: "not the password" };
}

/**
 * Connects and subscribes.
 *
 * Options: clientId, subscribe (filters), qos, version (4 is MQTT 3.1.1), clean, expirySecs,
 * receiveMaximum, will, willDelaySecs, holdAcks.
 */
export async function open(mqtt, settings, options) {
  const { version = 5, clean = true, qos = 0, subscribe = [] } = options;
  const client = mqtt.connect({
    ...addressOf(settings),
    clientId: options.clientId,
    protocolVersion: version,
    clean,
    reconnectPeriod: 0,
    connectTimeout: ANSWER_MILLIS,
    will: options.will && {
      ...options.will,
      properties: { willDelayInterval: options.willDelaySecs },
    },
    properties: version === 5
      ? { sessionExpiryInterval: options.expirySecs ?? 0, receiveMaximum: options.receiveMaximum }
      : undefined,
  });
  const connection = new Connection(client, options);
  try {
    await within(ANSWER_MILLIS, "CONNACK", connection.connected);
    for (const filter of subscribe) {
      const [{ qos: granted }] = await client.subscribeAsync(filter, { qos });
      if (granted >= 0x80) {
        throw new Error(`the subscription to ${filter} was refused: ${granted}`);
      }
    }
  } catch (error) {
    client.end(true);
    throw error;
  }
  return connection;
}

class Connection {
  constructor(client, options) {
    this.client = client;
    this.queue = [];
    this.waiting = [];
    this.wire = new Wire();
    this.held = undefined;
    this.receiveMaximum = RECEIVE_MAXIMUM_DEFAULT;
    this.connected = new Promise((resolve, reject) => {
      client.once("connect", (connack) => {
        this.sessionPresent = connack.sessionPresent;
        this.receiveMaximum = connack.properties?.receiveMaximum ?? RECEIVE_MAXIMUM_DEFAULT;
        resolve();
      });
      client.once("error", (error) => reject(new Refused(error.message)));
      client.once("close", () => reject(new Refused("the connection was closed")));
    });
    // It is waited for above; a loss later is somebody's deadline.
    this.connected.catch(() => {});
    client.on("error", () => {});
    client.on("message", (topic, payload, packet) => this.onMessage(topic, payload, packet));
    client.stream.on("data", (chunk) => this.wire.add(chunk));
    if (options.holdAcks) {
      this.holdAcks();
    }
  }

  /** The acknowledgement waits for `release`, by the hook that npm mqtt has for back pressure. */
  holdAcks() {
    const released = new Promise((resolve) => {
      this.release = resolve;
    });
    this.client.handleMessage = (packet, done) => released.then(() => done());
  }

  onMessage(topic, payload, packet) {
    const about = packet.properties ?? {};
    const message = {
      topic,
      payload: new TextDecoder().decode(payload),
      qos: packet.qos,
      retain: packet.retain,
      contentType: about.contentType,
      responseTopic: about.responseTopic,
      correlationData: about.correlationData && [...about.correlationData],
      userProperties: about.userProperties && { ...about.userProperties },
    };
    const taker = this.waiting.shift();
    if (taker) {
      taker(message);
    } else {
      this.queue.push(message);
    }
  }

  next() {
    if (this.queue.length > 0) {
      return Promise.resolve(this.queue.shift());
    }
    const come = new Promise((resolve) => this.waiting.push(resolve));
    return within(ANSWER_MILLIS, "a message", come);
  }

  /** Sends one and waits for the last acknowledgement of its QoS. */
  publish(topic, payload, options) {
    const sent = this.client.publishAsync(topic, payload, options);
    return within(ANSWER_MILLIS, "an acknowledgement", sent);
  }

  /** Sends as many at a time as the broker allows: npm mqtt itself does not count them. */
  async publishAll(topic, payloads, options) {
    const rest = [...payloads];
    const work = async () => {
      while (rest.length > 0) {
        await this.publish(topic, rest.shift(), options);
      }
    };
    const lanes = Math.min(this.receiveMaximum, payloads.length);
    await Promise.all(Array.from({ length: lanes }, work));
  }

  close() {
    return within(ANSWER_MILLIS, "the end", this.client.endAsync());
  }

  /** The network fails: no DISCONNECT. */
  lose() {
    this.client.stream.destroy();
  }
}

/** Counts the PUBLISH packets on the wire, whether or not npm mqtt has handled them. */
class Wire {
  constructor() {
    this.bytes = [];
    this.publishes = [];
    this.watchers = [];
  }

  add(chunk) {
    this.bytes.push(...chunk);
    for (let packet = this.take(); packet; packet = this.take()) {
      if (packet.type === 3) {
        this.publishes.push(new TextDecoder().decode(new Uint8Array(packet.body)));
      }
    }
    this.watchers.forEach((watcher) => watcher());
  }

  /** The next whole packet: a byte of type and flags, the length in up to four bytes, the body. */
  take() {
    let length = 0;
    for (let digit = 0; digit < 4; digit += 1) {
      const byte = this.bytes[1 + digit];
      if (byte === undefined) {
        return undefined;
      }
      length += (byte & 0x7f) * 128 ** digit;
      if (byte < 0x80) {
        const start = 2 + digit;
        if (this.bytes.length < start + length) {
          return undefined;
        }
        const [first] = this.bytes;
        const body = this.bytes.slice(start, start + length);
        this.bytes.splice(0, start + length);
        return { type: first >> 4, body };
      }
    }
    throw new Error("no MQTT packet");
  }

  /** Waits for a PUBLISH that ends in `payload`. */
  untilPublish(payload) {
    const seen = new Promise((resolve) => {
      const look = () => this.publishes.some((body) => body.endsWith(payload)) && resolve();
      this.watchers.push(look);
      look();
    });
    return within(ANSWER_MILLIS, payload, seen);
  }
}
