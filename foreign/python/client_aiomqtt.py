"""PyPI aiomqtt. It has paho-mqtt below it, and shows neither its acknowledgements nor its socket."""

import asyncio

import aiomqtt
from paho.mqtt.packettypes import PacketTypes

from client_paho import connect_properties, message_of, properties_of
from surface import ANSWER_SECS, Connection, Message, Options, Refused, Settings, cut

NAME = "aiomqtt"
MUST_SUBSCRIBE = False
CAN_HOLD_ACKS = False
CORRELATION_DATA = b"\x00\xffid 7"


class Aiomqtt(Connection):
    def __init__(self, settings: Settings, options: Options) -> None:
        super().__init__()
        self.options = options
        self.is_v5 = options.version == 5
        rest = {"clean_session": options.clean}
        if self.is_v5:
            rest = {"clean_start": options.clean, "properties": connect_properties(options)}
        if not settings.has_certificate:
            rest |= {"username": settings.user, "password": settings.password}
        if settings.is_websocket:
            rest |= {"transport": "websockets", "websocket_path": settings.path}
        self.client = aiomqtt.Client(
            settings.host,
            settings.port,
            identifier=options.client_id,
            protocol=aiomqtt.ProtocolVersion.V5 if self.is_v5 else aiomqtt.ProtocolVersion.V311,
            tls_context=settings.tls_context() if settings.is_tls else None,
            will=will_of(options),
            timeout=ANSWER_SECS,
            **rest,
        )

    async def start(self) -> None:
        await self.client.__aenter__()
        self.reader = asyncio.create_task(self.read())
        for filter, qos in self.options.subscribe:
            [code] = await self.client.subscribe(filter, qos)
            if code.is_failure:
                raise AssertionError(f"the subscription to {filter} was refused: {code}")

    async def read(self) -> None:
        try:
            async for message in self.client.messages:
                self.messages.put_nowait(message_of(message))
        except aiomqtt.MqttError:
            # The connection has ended; whoever waits for a message runs into its deadline.
            pass

    async def publish_all(self, messages: list[Message]) -> None:
        await asyncio.gather(
            *(
                self.client.publish(
                    message.topic,
                    message.payload,
                    message.qos,
                    message.retain,
                    properties_of(message, PacketTypes.PUBLISH) if self.is_v5 else None,
                )
                for message in messages
            )
        )

    async def close(self) -> None:
        self.reader.cancel()
        await self.client.__aexit__(None, None, None)

    async def lose(self) -> None:
        # Its own API always says DISCONNECT, so the socket is cut below it.
        cut(self.client._client.socket().fileno())


def will_of(options: Options) -> aiomqtt.Will | None:
    if not options.will:
        return None
    will = options.will
    about = properties_of(will, PacketTypes.WILLMESSAGE)
    about.WillDelayInterval = options.will_delay_secs
    return aiomqtt.Will(will.topic, will.payload, will.qos, will.retain, about)


async def open(settings: Settings, options: Options) -> Connection:
    connection = Aiomqtt(settings, options)
    try:
        await connection.start()
    except aiomqtt.MqttError as error:
        raise Refused(str(error)) from error
    return connection
