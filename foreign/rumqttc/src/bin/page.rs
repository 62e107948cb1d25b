use rumqttc::v5::mqttbytes::{QoS, v5::Packet};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = MqttOptions::new("anna-rust", "broker.example.com", 8883);
    options.set_credentials("anna", std::env::var("MQTT_PASSWORD")?);
    options.set_transport(Transport::Tls(TlsConfiguration::Simple {
        ca: std::fs::read("ca.crt")?,
        alpn: None,
        client_auth: None,
    }));
    let (client, mut event_loop) = AsyncClient::new(options, 10);
    client
        .publish("devices/anna/hello", QoS::AtLeastOnce, false, "hi")
        .await?;
    while !matches!(event_loop.poll().await?, Event::Incoming(Packet::PubAck(_))) {}
    Ok(())
}
