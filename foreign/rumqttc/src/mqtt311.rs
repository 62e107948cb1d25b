//! rumqttc with MQTT 3.1.1, which is another half of the crate with types of its own.

use std::time::Duration;

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use tokio::time::timeout;

use crate::connection::ANSWER;
use crate::settings::Settings;

/// Connects, sends itself a message, and gives back what came.
pub async fn echo(settings: &Settings, client_id: &str, topic: &str) -> Result<Vec<u8>, String> {
    let (host, port) = settings.address();
    let mut options = MqttOptions::new(client_id, host, port);
    options.set_transport(settings.transport());
    options.set_keep_alive(Duration::from_secs(30));
    if let Some((user, password)) = &settings.login {
        options.set_credentials(user, password);
    }
    let (client, mut event_loop) = AsyncClient::new(options, 10);
    let asked = client.subscribe(topic, QoS::AtMostOnce).await;
    asked.map_err(|error| error.to_string())?;
    let conversation = async {
        loop {
            match event_loop.poll().await {
                Ok(Event::Incoming(Packet::SubAck(_))) => {
                    let sent = client.publish(topic, QoS::AtMostOnce, false, "hello").await;
                    sent.map_err(|error| error.to_string())?;
                }
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    return Ok(message.payload.to_vec());
                }
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    timeout(ANSWER, conversation)
        .await
        .unwrap_or_else(|_| Err("no message came with 3.1.1".into()))
}
