"""The scenarios, the same for every library; foreign/node and foreign/rumqttc have the same list.

In a planted run (`Settings.plant_wrong`) every scenario expects a payload that nobody sends, so
all of them have to fail.
"""

import asyncio
import time
from types import ModuleType

from surface import ANSWER_SECS, Connection, Message, Options, Refused, Settings

# Seconds between the loss of a connection and its will.
WILL_DELAY_SECS = 1
# Clocks of two processes and a timer wheel: a will may come this much early.
CLOCK_SLACK_SECS = 0.1
# What a flow-controlled client lets the broker have under way.
RECEIVE_MAXIMUM = 2
# More than the broker's own Receive Maximum of 20.
BURST = 60


class Bench:
    """One scenario's client library, names and expectations."""

    def __init__(self, library: ModuleType, settings: Settings, scenario: str) -> None:
        self.library = library
        self.settings = settings
        self.name = scenario
        self.topic = f"{settings.topics}/{scenario}"
        self.opened: list[Connection] = []

    async def open(self, role: str, *filters: str, qos: int = 0, **options) -> Connection:
        client_id = f"{self.library.NAME}-{self.settings.transport}-{self.name}-{role}"
        subscribe = [(filter, qos) for filter in filters]
        return await self.open_as(
            self.settings, Options(client_id=client_id, subscribe=subscribe, **options)
        )

    async def open_as(self, settings: Settings, options: Options) -> Connection:
        opening = self.library.open(settings, options)
        connection = await asyncio.wait_for(opening, ANSWER_SECS)
        self.opened.append(connection)
        return connection

    def expected(self, payloads: list[bytes]) -> list[bytes]:
        """What must come; something else in a planted run."""
        if self.settings.plant_wrong:
            return [b"planted " + payload for payload in payloads]
        return payloads

    async def expect(self, connection: Connection, payloads: list[bytes]) -> list[Message]:
        """The next messages have these payloads, in this order."""
        came = [await connection.next() for _ in payloads]
        equal([message.payload for message in came], self.expected(payloads))
        return came

    async def end(self) -> None:
        for connection in self.opened:
            try:
                await asyncio.wait_for(connection.close(), ANSWER_SECS)
            except Exception:
                # It is lost or closed already, or its scenario has failed and said why.
                pass


def equal(actual, expected) -> None:
    if actual != expected:
        raise AssertionError(f"expected {expected!r}, but got {actual!r}")


async def connect(bench: Bench) -> None:
    for version in (4, 5):
        connection = await bench.open(f"v{version}", bench.topic, version=version)
        await connection.publish(Message(bench.topic, b"hello"))
        await bench.expect(connection, [b"hello"])
        await connection.close()
    stranger = Options(client_id="stranger", subscribe=[(bench.topic, 0)])
    try:
        await bench.open_as(bench.settings.wrong(), stranger)
    except Refused:
        return
    raise AssertionError("a wrong credential was let in")


async def qos(bench: Bench, level: int) -> None:
    subscriber = await bench.open("sub", bench.topic, qos=level)
    publisher = await bench.open("pub")
    payloads = [f"message {number}".encode() for number in range(5)]
    for payload in payloads:
        await publisher.publish(Message(bench.topic, payload, qos=level))
    came = await bench.expect(subscriber, payloads)
    equal([message.qos for message in came], [level] * len(payloads))


async def qos0(bench: Bench) -> None:
    await qos(bench, 0)


async def qos1(bench: Bench) -> None:
    await qos(bench, 1)


async def qos2(bench: Bench) -> None:
    await qos(bench, 2)


async def retained(bench: Bench) -> None:
    publisher = await bench.open("pub")
    await publisher.publish(Message(bench.topic, b"kept", qos=1, retain=True))
    early = await bench.open("early", bench.topic, qos=1)
    [message] = await bench.expect(early, [b"kept"])
    equal(message.retain, True)
    await publisher.publish(Message(bench.topic, b"", qos=1, retain=True))
    late = await bench.open("late", bench.topic, qos=1)
    await publisher.publish(Message(bench.topic, b"live", qos=1))
    [message] = await bench.expect(late, [b"live"])
    equal(message.retain, False)


async def will_delay(bench: Bench) -> None:
    watcher = await bench.open("watcher", f"{bench.topic}/will", qos=1)
    mortal = await bench.open(
        "mortal",
        f"{bench.topic}/other",
        expiry_secs=60,
        will=Message(f"{bench.topic}/will", b"gone", qos=1),
        will_delay_secs=WILL_DELAY_SECS,
    )
    lost = time.monotonic()
    await mortal.lose()
    await bench.expect(watcher, [b"gone"])
    waited = time.monotonic() - lost
    if waited < WILL_DELAY_SECS - CLOCK_SLACK_SECS:
        raise AssertionError(f"the will came after {waited:.2f} s, before its delay")


async def shared(bench: Bench) -> None:
    filter = f"$share/workers/{bench.topic}"
    workers = [await bench.open(f"worker{number}", filter, qos=1) for number in range(2)]
    publisher = await bench.open("pub")
    payloads = [f"job {number:02}".encode() for number in range(20)]
    for payload in payloads:
        await publisher.publish(Message(bench.topic, payload, qos=1))
    jobs: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()

    async def work(number: int) -> None:
        while True:
            message = await workers[number].messages.get()
            jobs.put_nowait((number, message.payload))

    tasks = [asyncio.create_task(work(number)) for number in range(2)]
    done: list[list[bytes]] = [[], []]
    try:
        for _ in payloads:
            number, payload = await asyncio.wait_for(jobs.get(), ANSWER_SECS)
            done[number].append(payload)
    except asyncio.TimeoutError:
        # What is missing shows below.
        pass
    finally:
        for task in tasks:
            task.cancel()
    # Each message once, and nobody got all of them.
    equal(sorted(done[0] + done[1]), bench.expected(payloads))
    equal([bool(part) for part in done], [True, True])


async def persistent(bench: Bench) -> None:
    first = await bench.open("sleeper", bench.topic, qos=1, expiry_secs=300)
    equal(first.session_present in (False, None), True)
    await first.close()
    publisher = await bench.open("pub")
    payloads = [f"while away {number}".encode() for number in range(5)]
    for payload in payloads:
        await publisher.publish(Message(bench.topic, payload, qos=1))
    # mosquitto_sub cannot connect without a filter; subscribing again does not end the queue.
    again = [bench.topic] if bench.library.MUST_SUBSCRIBE else []
    second = await bench.open("sleeper", *again, qos=1, clean=False, expiry_secs=300)
    equal(second.session_present in (True, None), True)
    await bench.expect(second, payloads)


async def properties(bench: Bench) -> None:
    subscriber = await bench.open("sub", bench.topic, qos=1)
    publisher = await bench.open("pub")
    sent = Message(
        bench.topic,
        b"with properties",
        qos=1,
        content_type="application/json; charset=utf-8",
        response_topic=f"{bench.topic}/answers",
        correlation_data=bench.library.CORRELATION_DATA,
        user_properties=[("a", "1"), ("a", "2"), ("unit", "°C"), ("b", "")],
    )
    await publisher.publish(sent)
    [came] = await bench.expect(subscriber, [sent.payload])
    for field in ("content_type", "response_topic", "correlation_data", "user_properties"):
        equal((field, getattr(came, field)), (field, getattr(sent, field)))


async def flow_in(bench: Bench) -> None:
    """The broker keeps to our Receive Maximum."""
    can_hold = bench.library.CAN_HOLD_ACKS
    data, marker = f"{bench.topic}/data", f"{bench.topic}/marker"
    subscriber = await bench.open(
        "sub", data, marker, qos=1, receive_maximum=RECEIVE_MAXIMUM, hold_acks=can_hold
    )
    publisher = await bench.open("pub")
    payloads = [f"message {number}".encode() for number in range(6)]
    for payload in payloads:
        await publisher.publish(Message(data, payload, qos=1))
    # QoS 0 is not counted: it comes past the messages that have to wait.
    await publisher.publish(Message(marker, b"marker", qos=0))
    if not can_hold:
        came = [await subscriber.next() for _ in range(len(payloads) + 1)]
        ordered = [message.payload for message in came if message.topic == data]
        equal(ordered, bench.expected(payloads))
        return
    first = await bench.expect(subscriber, [*payloads[:RECEIVE_MAXIMUM], b"marker"])
    for message in first[:RECEIVE_MAXIMUM]:
        message.acknowledge()
    for payload in payloads[RECEIVE_MAXIMUM:]:
        [message] = await bench.expect(subscriber, [payload])
        message.acknowledge()


async def flow_out(bench: Bench) -> None:
    """We keep to the broker's Receive Maximum with more messages than it has room for."""
    subscriber = await bench.open("sub", bench.topic, qos=2)
    publisher = await bench.open("pub")
    payloads = [f"message {number:02}".encode() for number in range(BURST)]
    await publisher.publish_all([Message(bench.topic, payload, qos=2) for payload in payloads])
    await bench.expect(subscriber, payloads)


SCENARIOS = [
    connect,
    qos0,
    qos1,
    qos2,
    retained,
    will_delay,
    shared,
    persistent,
    properties,
    flow_in,
    flow_out,
]
