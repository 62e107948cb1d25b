//! Why a WebSocket connection ends.

use thiserror::Error;

/// Why the connection is over. What the peer is told of it is in the output already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WsError {
    /// The upgrade was refused; the HTTP answer says so.
    #[error("the WebSocket upgrade was refused: {0}")]
    Refused(#[from] Refusal),
    /// A reserved bit is set, though no extension was agreed on [RFC 6455 5.2].
    #[error("a frame has a reserved bit set; send frames without extensions")]
    ReservedBit,
    /// An opcode that means nothing [RFC 6455 5.2].
    #[error("a frame has the unknown opcode {0:#x}")]
    UnknownOpcode(u8),
    /// A text frame; MQTT is carried in binary ones [MQTT-6.0.0-1].
    #[error("a text frame; send MQTT in binary frames")]
    Text,
    /// A client's frame without a mask [RFC 6455 5.1].
    #[error("a frame without a mask; clients mask every frame")]
    NotMasked,
    /// A control frame in fragments [RFC 6455 5.5].
    #[error("a control frame in fragments")]
    FragmentedControl,
    /// A control frame of more than 125 bytes [RFC 6455 5.5].
    #[error("a control frame of more than 125 bytes")]
    LargeControl,
    /// A continuation of nothing [RFC 6455 5.4].
    #[error("a continuation frame without a message to continue")]
    NothingToContinue,
    /// A new message within another [RFC 6455 5.4].
    #[error("a new message before the last fragment of the one before")]
    MessageWithinMessage,
    /// A length that is not written in the shortest form, or has its top bit set [RFC 6455 5.2].
    #[error("a frame's length is not written in the shortest form")]
    LengthForm,
    /// More than a frame may hold.
    #[error("a frame of {bytes} bytes; allowed: {max}, so send smaller frames")]
    FrameTooLarge {
        /// What it announced.
        bytes: u64,
        /// What is allowed.
        max: u64,
    },
    /// A close frame whose payload is not a code and a text [RFC 6455 5.5.1].
    #[error("a close frame with a malformed payload")]
    MalformedClose,
    /// The upgrade is still to come, so there are no frames yet.
    #[error("the WebSocket upgrade is not complete")]
    NotUpgraded,
    /// The connection has been closed or has failed before.
    #[error("the WebSocket connection is closed")]
    Closed,
}

impl WsError {
    /// The code that a close frame tells the peer [RFC 6455 7.4.1]; `None` where no close frame can be sent.
    #[must_use]
    pub fn close_code(self) -> Option<u16> {
        match self {
            Self::Refused(_) | Self::NotUpgraded | Self::Closed => None,
            Self::Text => Some(1003),
            Self::FrameTooLarge { .. } => Some(1009),
            _ => Some(1002),
        }
    }
}

/// Why a request does not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The first byte begins no HTTP request.
    #[error("this is no HTTP request; connect with ws:// or wss://")]
    NotHttp,
    /// More than [`HEAD_BYTES_MAX`](crate::handshake::HEAD_BYTES_MAX) bytes.
    #[error("the request head is larger than 8 KiB")]
    HeadTooLarge,
    /// More than [`HEADERS_MAX`](crate::handshake::HEADERS_MAX) header fields.
    #[error("the request has more than 64 header fields")]
    TooManyHeaders,
    /// Not a request line of HTTP/1.1 and header fields of RFC 9112.
    #[error("the request is malformed; allowed: HTTP/1.1")]
    Malformed,
    /// A body, which an upgrade does not have.
    #[error("the request has a body")]
    Body,
    /// Another method than GET.
    #[error("the method is not GET")]
    Method,
    /// Another path than the listener's.
    #[error("nothing is served at this path")]
    Path,
    /// None or several Host fields.
    #[error("the request needs exactly one Host field")]
    Host,
    /// A request that asks for no WebSocket.
    #[error("this port speaks MQTT over WebSocket only")]
    NotAnUpgrade,
    /// Another version than 13.
    #[error("the WebSocket version is not 13")]
    Version,
    /// No key, several, or one that is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes in base64")]
    Key,
    /// A page from elsewhere.
    #[error(
        "pages of this origin may not connect; the operator lists those that may in the listener's key origins"
    )]
    Origin,
    /// The client does not offer MQTT [MQTT-6.0.0-3].
    #[error("the subprotocol mqtt is not offered")]
    Subprotocol,
}

impl Refusal {
    /// Status code and phrase of the answer.
    #[must_use]
    pub fn status(self) -> &'static str {
        match self {
            Self::Origin => "403 Forbidden",
            Self::Path => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::NotAnUpgrade | Self::Version => "426 Upgrade Required",
            Self::HeadTooLarge | Self::TooManyHeaders => "431 Request Header Fields Too Large",
            _ => "400 Bad Request",
        }
    }
}
