//! What clients see of sessions, routing and shards. Every test moves the clock by hand.
//!
//! A test that proves a statement of the specification starts with its number: `mqtt5_3_1_4_3__` is
//! [MQTT-3.1.4-3] of MQTT 5.0, `mqtt311_` one of MQTT 3.1.1.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    non_snake_case
)]

mod harness;

mod acl;
mod aliases;
mod answers;
mod authenticate;
mod connect;
mod corpus;
mod disconnect_reasons;
mod durable;
mod expiry;
mod flow_control;
mod keep_alive;
mod limits;
mod model;
mod naive;
mod packet_table;
mod policy;
mod publish;
mod qos1;
mod qos2;
mod retained;
mod routing_model;
mod schedule;
mod session_model;
mod shared;
mod shared_model;
mod store;
mod subscribe;
mod system;
mod takeover;
mod two_shards;
mod will;
