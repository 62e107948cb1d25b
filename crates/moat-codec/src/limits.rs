/// What a peer may send. Every decoder takes these as an argument; crossing one is an error of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a whole packet, fixed header included; crossing it is 0x95.
    pub packet_bytes_max: u32,
    /// Bytes of a topic name (0x90) or topic filter (0x8F).
    pub topic_bytes_max: u16,
    /// Levels of a topic name (0x90) or topic filter (0x8F); `$share/group/` is not counted.
    pub topic_levels_max: u16,
    /// Bytes of a client identifier; crossing it is 0x85.
    pub client_id_bytes_max: u16,
    /// Filters in one SUBSCRIBE or UNSUBSCRIBE; crossing it is 0x97.
    pub filters_per_packet_max: u16,
    /// User properties in one packet, a will's included; crossing it is 0x97.
    pub user_properties_max: u16,
}

impl Default for Limits {
    /// What a broker allows unless its configuration says otherwise.
    fn default() -> Self {
        Self {
            packet_bytes_max: 1024 * 1024,
            topic_bytes_max: 1024,
            topic_levels_max: 10,
            client_id_bytes_max: 256,
            filters_per_packet_max: 100,
            user_properties_max: 32,
        }
    }
}

impl Limits {
    /// What the protocol itself allows: for clients and tests, which trust their broker.
    #[must_use]
    pub const fn generous() -> Self {
        Self {
            packet_bytes_max: crate::varint::MAX,
            topic_bytes_max: u16::MAX,
            topic_levels_max: u16::MAX,
            client_id_bytes_max: u16::MAX,
            filters_per_packet_max: u16::MAX,
            user_properties_max: u16::MAX,
        }
    }
}
