"""PyPI paho-mqtt, with its network thread."""

import asyncio

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from surface import ANSWER_SECS, Connection, Message, Options, Refused, Settings, cut

NAME = "paho"
MUST_SUBSCRIBE = False
CAN_HOLD_ACKS = True
CORRELATION_DATA = b"\x00\xffid 7"


class Paho(Connection):
    def __init__(self, settings: Settings, options: Options) -> None:
        super().__init__()
        self.loop = asyncio.get_running_loop()
        self.options = options
        self.connected = self.loop.create_future()
        self.granted: dict[int, asyncio.Future] = {}
        is_v5 = options.version == 5
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            protocol=paho.MQTTv5 if is_v5 else paho.MQTTv311,
            clean_session=None if is_v5 else options.clean,
            transport="websockets" if settings.is_websocket else "tcp",
            manual_ack=options.hold_acks,
            reconnect_on_failure=False,
        )
        if settings.is_websocket:
            self.client.ws_set_options(path=settings.path)
        if settings.is_tls:
            self.client.tls_set_context(settings.tls_context())
        if not settings.has_certificate:
            self.client.username_pw_set(settings.user, settings.password)
        if options.will:
            will = options.will
            about = properties_of(will, PacketTypes.WILLMESSAGE)
            about.WillDelayInterval = options.will_delay_secs
            self.client.will_set(will.topic, will.payload, will.qos, will.retain, about)
        self.client.on_connect = self.on_connect
        self.client.on_connect_fail = self.on_connect_fail
        self.client.on_disconnect = self.on_disconnect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message

    async def start(self, settings: Settings) -> None:
        rest = {}
        if self.options.version == 5:
            rest = {
                "clean_start": self.options.clean,
                "properties": connect_properties(self.options),
            }
        await asyncio.to_thread(self.client.connect, settings.host, settings.port, 30, **rest)
        self.client.loop_start()
        self.session_present = await self.connected
        for filter, qos in self.options.subscribe:
            future = self.loop.create_future()
            _, mid = self.client.subscribe(filter, qos)
            self.granted[mid] = future
            [code] = await future
            if code.is_failure:
                raise AssertionError(f"the subscription to {filter} was refused: {code}")

    # What the network thread calls. It hands everything over to the loop of the scenario.

    def on_connect(self, client, userdata, flags, code, properties) -> None:
        if code.is_failure:
            self.fail(f"CONNACK {code}")
        else:
            self.tell(self.connected.set_result, flags.session_present)

    def on_connect_fail(self, client, userdata) -> None:
        self.fail("no connection")

    def on_disconnect(self, client, userdata, flags, code, properties) -> None:
        self.fail(f"disconnected: {code}")

    def fail(self, why: str) -> None:
        def refuse() -> None:
            if not self.connected.done():
                self.connected.set_exception(Refused(why))

        self.tell(refuse)

    def on_subscribe(self, client, userdata, mid, codes, properties) -> None:
        self.tell(lambda: self.granted[mid].set_result(codes))

    def on_message(self, client, userdata, message: paho.MQTTMessage) -> None:
        came = message_of(message)
        came.acknowledge = lambda: client.ack(message.mid, message.qos)
        self.tell(self.messages.put_nowait, came)

    def tell(self, what, *arguments) -> None:
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(what, *arguments)

    async def publish_all(self, messages: list[Message]) -> None:
        is_v5 = self.options.version == 5
        sent = [
            self.client.publish(
                message.topic,
                message.payload,
                message.qos,
                message.retain,
                properties_of(message, PacketTypes.PUBLISH) if is_v5 else None,
            )
            for message in messages
        ]
        for info in sent:
            await asyncio.to_thread(info.wait_for_publish, ANSWER_SECS)
            if not info.is_published():
                raise AssertionError("a message was not acknowledged")

    async def close(self) -> None:
        self.client.disconnect()
        await asyncio.to_thread(self.client.loop_stop)

    async def lose(self) -> None:
        cut(self.client.socket().fileno())


def connect_properties(options: Options) -> Properties:
    about = Properties(PacketTypes.CONNECT)
    about.SessionExpiryInterval = options.expiry_secs
    if options.receive_maximum:
        about.ReceiveMaximum = options.receive_maximum
    return about


def properties_of(message: Message, packet: int) -> Properties:
    about = Properties(packet)
    if message.content_type:
        about.ContentType = message.content_type
    if message.response_topic:
        about.ResponseTopic = message.response_topic
    if message.correlation_data:
        about.CorrelationData = message.correlation_data
    if message.user_properties:
        about.UserProperty = message.user_properties
    return about


def message_of(message) -> Message:
    """From a message of paho-mqtt, or of aiomqtt, which has the same fields."""
    about = message.properties
    return Message(
        str(message.topic),
        message.payload,
        message.qos,
        bool(message.retain),
        getattr(about, "ContentType", None),
        getattr(about, "ResponseTopic", None),
        getattr(about, "CorrelationData", None),
        list(getattr(about, "UserProperty", [])),
    )


async def open(settings: Settings, options: Options) -> Connection:
    connection = Paho(settings, options)
    try:
        await connection.start(settings)
    except OSError as error:
        raise Refused(str(error)) from error
    return connection
