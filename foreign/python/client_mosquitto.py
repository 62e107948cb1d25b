"""Debian's mosquitto_sub and mosquitto_pub: a subscriber is a process, and so is every publish."""

import asyncio
import json
import signal

from surface import ANSWER_SECS, Connection, Message, Options, Refused, Settings

NAME = "mosquitto"
MUST_SUBSCRIBE = True
CAN_HOLD_ACKS = False
# An argument of a program is text.
CORRELATION_DATA = b"id 7"


class Mosquitto(Connection):
    process: asyncio.subprocess.Process | None = None

    def __init__(self, settings: Settings, options: Options) -> None:
        super().__init__()
        self.settings = settings
        self.options = options
        self.said: list[str] = []

    async def start(self) -> None:
        if not self.options.subscribe:
            return
        # Line by line: what it prints into a pipe would come in blocks otherwise.
        command = ["stdbuf", "-oL", "mosquitto_sub", "-d", "-F", "%j", *self.arguments()]
        for filter, qos in self.options.subscribe:
            command += ["-t", filter, "-q", str(qos)]
        self.process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        subscribed = asyncio.get_running_loop().create_future()
        self.reader = asyncio.create_task(self.read(subscribed))
        await subscribed

    async def read(self, subscribed: asyncio.Future) -> None:
        async for raw in self.process.stdout:
            line = raw.decode()
            if line.startswith("{"):
                # As pairs: a user property may come twice with the same name.
                self.messages.put_nowait(message_of(json.loads(line, object_pairs_hook=list)))
                continue
            self.said.append(line.strip())
            if line.startswith("Subscribed") and not subscribed.done():
                # Subscribed (mid: 1): 1, 1
                codes = [int(code) for code in line.split("): ")[1].split(", ")]
                if any(code >= 0x80 for code in codes):
                    subscribed.set_exception(AssertionError(f"refused: {line.strip()}"))
                else:
                    subscribed.set_result(None)
        if not subscribed.done():
            subscribed.set_exception(Refused(" / ".join(self.said)))

    def arguments(self) -> list[str]:
        options = self.options
        arguments = [*self.identity(), "-i", options.client_id]
        if options.version == 4:
            return [*arguments, "-V", "mqttv311"]
        arguments += ["-V", "mqttv5"]
        if not options.clean:
            arguments += ["-c"]
        arguments += ["-x", str(options.expiry_secs)]
        if options.receive_maximum:
            arguments += ["-D", "CONNECT", "receive-maximum", str(options.receive_maximum)]
        if options.will:
            will = options.will
            arguments += ["--will-topic", will.topic, "--will-payload", will.payload.decode()]
            arguments += ["--will-qos", str(will.qos)]
            arguments += ["-D", "WILL", "will-delay-interval", str(options.will_delay_secs)]
        return arguments

    def identity(self) -> list[str]:
        settings = self.settings
        arguments = ["-h", settings.host, "-p", str(settings.port), "--cafile", settings.ca]
        if not settings.has_certificate:
            return [*arguments, "-u", settings.user, "-P", settings.password]
        if settings.cert:
            arguments += ["--cert", settings.cert, "--key", settings.key]
        return arguments

    async def publish_all(self, messages: list[Message]) -> None:
        """One process for all: its line mode sends without waiting for acknowledgements."""
        first = messages[0]
        command = ["mosquitto_pub", *self.identity(), "-i", f"{self.options.client_id}-pub"]
        command += ["-V", "mqttv5" if self.options.version == 5 else "mqttv311"]
        command += ["-t", first.topic, "-q", str(first.qos)]
        if first.retain:
            command += ["-r"]
        command += properties_of(first)
        lines = None
        if len(messages) > 1:
            command += ["-l"]
            lines = b"".join(message.payload + b"\n" for message in messages)
        elif first.payload:
            command += ["-m", first.payload.decode()]
        else:
            command += ["-n"]
        await run(command, lines)

    async def close(self) -> None:
        await self.end(signal.SIGINT)

    async def lose(self) -> None:
        await self.end(signal.SIGKILL)

    async def end(self, how: signal.Signals) -> None:
        if self.process and self.process.returncode is None:
            self.process.send_signal(how)
            await self.process.wait()


async def run(command: list[str], lines: bytes | None) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if lines else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(lines), ANSWER_SECS)
    except asyncio.TimeoutError:
        process.kill()
        raise AssertionError("mosquitto_pub did not end") from None
    # It ends with 0 even if the broker refused the message, and says so.
    if process.returncode != 0 or said:
        raise AssertionError(f"mosquitto_pub: {process.returncode} {said.decode().strip()}")


def properties_of(message: Message) -> list[str]:
    arguments = []
    for name, value in (
        ("content-type", message.content_type),
        ("response-topic", message.response_topic),
        ("correlation-data", message.correlation_data and message.correlation_data.decode()),
    ):
        if value:
            arguments += ["-D", "PUBLISH", name, value]
    for name, value in message.user_properties:
        arguments += ["-D", "PUBLISH", "user-property", name, value]
    return arguments


def message_of(pairs: list[tuple[str, object]]) -> Message:
    said = dict(pairs)
    about = dict(said.get("properties", []))
    correlation = about.get("correlation-data")
    return Message(
        said["topic"],
        (said.get("payload") or "").encode(),
        said["qos"],
        bool(said["retain"]),
        about.get("content-type"),
        about.get("response-topic"),
        correlation and correlation.encode(),
        about.get("user-properties", []),
    )


async def open(settings: Settings, options: Options) -> Connection:
    connection = Mosquitto(settings, options)
    try:
        await connection.start()
    except BaseException:
        await connection.lose()
        raise
    return connection
