"""What a scenario may ask of a client library, whichever it is.

Each file `client_*.py` has a function `open(settings, options)` that gives a `Connection`.
"""

import asyncio
import dataclasses
import os
import socket
import ssl
from collections.abc import Callable

# Seconds a scenario waits for a message, an acknowledgement or an answer.
ANSWER_SECS = 15


class Refused(Exception):
    """The broker refused the connection, or the handshake below it."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Where the broker is and who we are; `cargo xtask test` puts it into the environment."""

    transport: str
    host: str
    port: int
    path: str
    ca: str
    cert: str
    key: str
    user: str
    password: str
    topics: str
    plant_wrong: bool

    @classmethod
    def of_environment(cls, transport: str) -> "Settings":
        value = lambda name: os.environ.get(f"FOREIGN_{name}", "")
        return cls(
            transport=transport,
            host=value("HOST"),
            port=int(value("PORT")),
            path=value("PATH"),
            ca=value("CA"),
            cert=value("CERT"),
            key=value("KEY"),
            user=value("USER"),
            password=value("PASSWORD"),
            topics=value("TOPICS"),
            plant_wrong=value("PLANT_WRONG") == "yes",
        )

    @property
    def is_tls(self) -> bool:
        return self.transport != "ws"

    @property
    def is_websocket(self) -> bool:
        return self.transport in ("ws", "wss")

    @property
    def has_certificate(self) -> bool:
        return self.transport == "mtls"

    def wrong(self) -> "Settings":
        """The same with a credential that must be refused: no certificate, or another password."""
        if self.has_certificate:
            return dataclasses.replace(self, cert="", key="")
        return dataclasses.replace(self, password="not the password")

    def tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca)
        if self.cert:
            context.load_cert_chain(self.cert, self.key)
        return context


@dataclasses.dataclass
class Message:
    """A message to send, or one that came."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    # Acknowledges it; only with `Options.hold_acks`.
    acknowledge: Callable[[], None] | None = None


@dataclasses.dataclass
class Options:
    """How to connect."""

    client_id: str
    # Filters with the QoS asked for; `open` waits for the SUBACK.
    subscribe: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    # 4 is MQTT 3.1.1.
    version: int = 5
    clean: bool = True
    expiry_secs: int = 0
    receive_maximum: int | None = None
    will: Message | None = None
    will_delay_secs: int = 0
    # Messages are acknowledged by `Message.acknowledge` and not before.
    hold_acks: bool = False


class Connection:
    """One client that is connected. A library's file fills in the rest."""

    # None: the library does not tell.
    session_present: bool | None = None

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()

    async def next(self) -> Message:
        try:
            return await asyncio.wait_for(self.messages.get(), ANSWER_SECS)
        except asyncio.TimeoutError:
            raise AssertionError("no message came") from None

    async def publish(self, message: Message) -> None:
        """Sends it, and waits for the last acknowledgement of its QoS."""
        await self.publish_all([message])

    async def publish_all(self, messages: list[Message]) -> None:
        """Sends all before it waits for their acknowledgements."""
        raise NotImplementedError

    async def close(self) -> None:
        """Says DISCONNECT."""
        raise NotImplementedError

    async def lose(self) -> None:
        """The network fails: no DISCONNECT."""
        raise NotImplementedError


def cut(fileno: int) -> None:
    """Ends a TCP connection below whatever the library has put on it."""
    with socket.socket(fileno=os.dup(fileno)) as raw:
        raw.shutdown(socket.SHUT_RDWR)
