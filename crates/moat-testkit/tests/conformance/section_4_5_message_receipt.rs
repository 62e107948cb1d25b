//! Who gets a message that the broker has taken.

use moat_codec::QoS;
use moat_codec::Version::V5;
use moat_testkit::broker::Transport;

use crate::scene::{BOTH, Scene, part};

everywhere!(a_message_is_added_to_every_session_that_subscribed);

/// To those of clients that are away, too.
///
/// Proves 5.0 [MQTT-4.5.0-1]; 3.1.1 [MQTT-4.1.0-1] [MQTT-4.5.0-1].
fn a_message_is_added_to_every_session_that_subscribed(transport: Transport, shards: usize) {
    const FILTERS: [&str; 6] = ["a/b", "a/+", "#", "+/b", "a/#", "a/b/#"];
    let scene = Scene::new(transport, shards);
    let mut publisher = scene.join(V5, "publisher");
    for version in BOTH {
        let name = |filter: &str, away: bool| format!("{version:?}-{filter}-{away}");
        let mut present = Vec::new();
        for filter in FILTERS {
            for away in [true, false] {
                let (mut client, _) = scene.rejoin(version, &name(filter, away));
                client.subscribe(filter, QoS::AtLeastOnce);
                if away {
                    part(client);
                } else {
                    present.push(client);
                }
            }
        }
        let (mut other, _) = scene.rejoin(version, &name("other", false));
        other.subscribe("a/c", QoS::AtLeastOnce);
        publisher.publish_fully("a/b", b"for all", QoS::AtLeastOnce, scene.fresh_id());
        publisher.publish_fully("a/c", b"for one", QoS::AtLeastOnce, scene.fresh_id());
        for client in &mut present {
            assert_eq!(client.take_message().payload, b"for all");
        }
        for filter in FILTERS {
            let (mut client, _) = scene.rejoin(version, &name(filter, true));
            assert_eq!(client.take_message().payload, b"for all");
        }
        assert_eq!(other.take_message().payload, b"for one");
        for mut client in present {
            client.send(&[0xE0, 0]);
        }
    }
}
