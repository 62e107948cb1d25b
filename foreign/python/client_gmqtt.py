"""PyPI gmqtt. It speaks TCP and TLS, not WebSocket."""

import asyncio

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.storage import PersistentStorage

from surface import Connection, Message, Options, Refused, Settings

NAME = "gmqtt"
MUST_SUBSCRIBE = False
CAN_HOLD_ACKS = True
CORRELATION_DATA = b"\x00\xffid 7"


class Gmqtt(Connection):
    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options
        self.granted: dict[int, asyncio.Future] = {}
        # Its storage holds what is not acknowledged yet, and can be waited for.
        self.unacknowledged = PersistentStorage()
        rest = {}
        if options.version == 5:
            rest = {"session_expiry_interval": options.expiry_secs}
            if options.receive_maximum:
                rest["receive_maximum"] = options.receive_maximum
        self.client = gmqtt.Client(
            options.client_id,
            clean_session=options.clean,
            optimistic_acknowledgement=not options.hold_acks,
            will_message=will_of(options),
            persistent_storage=self.unacknowledged,
            **rest,
        )
        self.client.on_connect = self.on_connect
        self.client.on_subscribe = self.on_subscribe
        self.client.on_message = self.on_message

    async def start(self, settings: Settings) -> None:
        if not settings.has_certificate:
            self.client.set_auth_credentials(settings.user, settings.password)
        await self.client.connect(
            settings.host,
            settings.port,
            ssl=settings.tls_context() if settings.is_tls else False,
            keepalive=30,
            version=MQTTv50 if self.options.version == 5 else MQTTv311,
        )
        for filter, qos in self.options.subscribe:
            mid = self.client.subscribe(filter, qos)
            self.granted[mid] = asyncio.get_running_loop().create_future()
            [code] = await self.granted[mid]
            if code >= 0x80:
                raise AssertionError(f"the subscription to {filter} was refused: {code:#x}")

    def on_connect(self, client, flags, code, properties) -> None:
        self.session_present = bool(flags)

    def on_subscribe(self, client, mid, codes, properties) -> None:
        self.granted[mid].set_result(codes)

    async def on_message(self, client, topic, payload, qos, properties) -> int:
        first = lambda name: properties.get(name, [None])[0]
        acknowledged = asyncio.get_running_loop().create_future()
        correlation = first("correlation_data")
        self.messages.put_nowait(
            Message(
                topic,
                bytes(payload),
                qos,
                bool(properties["retain"]),
                first("content_type"),
                first("response_topic"),
                None if correlation is None else bytes(correlation),
                list(properties.get("user_property", [])),
                acknowledge=lambda: acknowledged.set_result(None),
            )
        )
        if self.options.hold_acks and qos > 0:
            await acknowledged
        return 0

    async def publish_all(self, messages: list[Message]) -> None:
        for message in messages:
            await self.send(message)
        await self.unacknowledged.wait_empty()

    async def send(self, message: Message) -> None:
        about = {
            "content_type": message.content_type,
            "response_topic": message.response_topic,
            "correlation_data": message.correlation_data,
            "user_property": message.user_properties,
        }
        about = {name: value for name, value in about.items() if value}
        while True:
            try:
                self.client.publish(
                    message.topic, message.payload, message.qos, message.retain, **about
                )
                return
            except OverflowError:
                # The broker's Receive Maximum is used up: gmqtt has no queue for what must wait.
                await asyncio.sleep(0.001)

    async def close(self) -> None:
        await self.client.disconnect()

    async def lose(self) -> None:
        # Its own API always says DISCONNECT, so the transport is cut below it.
        self.client.stop_reconnect()
        self.client._connection._transport.abort()


def will_of(options: Options) -> gmqtt.Message | None:
    if not options.will:
        return None
    will = options.will
    return gmqtt.Message(
        will.topic,
        will.payload,
        will.qos,
        will.retain,
        will_delay_interval=options.will_delay_secs,
    )


async def open(settings: Settings, options: Options) -> Connection:
    connection = Gmqtt(options)
    try:
        await connection.start(settings)
    except (gmqtt.MQTTConnectError, OSError) as error:
        raise Refused(str(error)) from error
    return connection
