//! One client of rumqttc with MQTT 5.0: what a scenario may ask of it.

use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    LastWill, LastWillProperties, Packet, Publish, PublishProperties, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::settings::Settings;

/// How long a scenario waits for a message, an acknowledgement or an answer.
pub const ANSWER: Duration = Duration::from_secs(15);
/// Requests that wait for the event loop.
const REQUESTS_MAX: usize = 100;

/// How to connect.
#[derive(Default)]
pub struct Options {
    /// Filters; `open` waits for each SUBACK.
    pub subscribe: Vec<String>,
    pub qos: u8,
    /// Resume the session in place of a clean start.
    pub resume: bool,
    pub expiry_secs: u32,
    pub receive_maximum: Option<u16>,
    /// Topic, payload and delay in seconds.
    pub will: Option<(String, String, u32)>,
    /// Messages are acknowledged by `acknowledge` and not before.
    pub hold_acks: bool,
}

/// A client that is connected.
pub struct Connection {
    client: AsyncClient,
    /// What has come.
    packets: UnboundedReceiver<Packet>,
    /// Messages that came while something else was waited for.
    messages: std::collections::VecDeque<Publish>,
    poller: JoinHandle<()>,
    pub session_present: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum OpenError {
    /// The broker refused it.
    Refused,
    Other(String),
}

impl Connection {
    pub async fn open(
        settings: &Settings,
        client_id: String,
        options: Options,
    ) -> Result<Self, OpenError> {
        let (client, event_loop) =
            AsyncClient::new(mqtt_options(settings, client_id, &options), REQUESTS_MAX);
        let (sender, packets) = unbounded_channel();
        let mut connection = Self {
            client,
            packets,
            messages: Default::default(),
            poller: tokio::spawn(poll(event_loop, sender)),
            session_present: false,
        };
        connection.session_present = connection.connack().await?;
        for filter in options.subscribe {
            connection
                .subscribe(filter, options.qos)
                .await
                .map_err(OpenError::Other)?;
        }
        Ok(connection)
    }

    async fn connack(&mut self) -> Result<bool, OpenError> {
        match timeout(ANSWER, self.packets.recv()).await {
            Ok(Some(Packet::ConnAck(connack))) => Ok(connack.session_present),
            // The event loop ends with the error that a refusal is to rumqttc.
            Ok(None) => Err(OpenError::Refused),
            Ok(Some(other)) => Err(OpenError::Other(format!("no CONNACK, but {other:?}"))),
            Err(_) => Err(OpenError::Other("no CONNACK came".into())),
        }
    }

    async fn subscribe(&mut self, filter: String, qos: u8) -> Result<(), String> {
        let asked = self.client.subscribe(filter.clone(), level(qos)).await;
        asked.map_err(|error| error.to_string())?;
        loop {
            if let Packet::SubAck(suback) = self.packet("a SUBACK").await? {
                return match suback.return_codes.as_slice() {
                    [SubscribeReasonCode::Success(_)] => Ok(()),
                    codes => Err(format!(
                        "the subscription to {filter} was refused: {codes:?}"
                    )),
                };
            }
        }
    }

    /// Sends it, and waits for the last acknowledgement of its QoS.
    pub async fn publish(&mut self, topic: &str, payload: &str, qos: u8) -> Result<(), String> {
        self.publish_all(topic, &[payload.to_owned()], qos).await
    }

    /// Sends all before it waits for their acknowledgements.
    pub async fn publish_all(
        &mut self,
        topic: &str,
        payloads: &[String],
        qos: u8,
    ) -> Result<(), String> {
        for payload in payloads {
            let sent = self
                .client
                .publish(topic, level(qos), false, payload.clone());
            sent.await.map_err(|error| error.to_string())?;
        }
        let count = if qos == 0 { 0 } else { payloads.len() };
        self.acknowledgements(count).await
    }

    pub async fn publish_retained(&mut self, topic: &str, payload: &str) -> Result<(), String> {
        let sent = self
            .client
            .publish(topic, QoS::AtLeastOnce, true, payload.to_owned());
        sent.await.map_err(|error| error.to_string())?;
        self.acknowledgements(1).await
    }

    pub async fn publish_with(
        &mut self,
        topic: &str,
        payload: &str,
        properties: PublishProperties,
    ) -> Result<(), String> {
        let payload = payload.to_owned();
        let sent = self.client.publish_with_properties(
            topic,
            QoS::AtLeastOnce,
            false,
            payload,
            properties,
        );
        sent.await.map_err(|error| error.to_string())?;
        self.acknowledgements(1).await
    }

    async fn acknowledgements(&mut self, count: usize) -> Result<(), String> {
        let mut left = count;
        while left > 0 {
            let packet = self.packet("an acknowledgement").await?;
            left -= usize::from(matches!(packet, Packet::PubAck(_) | Packet::PubComp(_)));
        }
        Ok(())
    }

    /// The next message.
    pub async fn next(&mut self) -> Result<Publish, String> {
        while self.messages.is_empty() {
            self.packet("a message").await?;
        }
        self.messages.pop_front().ok_or_else(|| "no message".into())
    }

    /// Acknowledges a message, with `Options::hold_acks`.
    pub async fn acknowledge(&self, message: &Publish) -> Result<(), String> {
        let acknowledged = self.client.ack(message).await;
        acknowledged.map_err(|error| error.to_string())
    }

    /// The next packet; a message is kept for `next`.
    async fn packet(&mut self, what: &str) -> Result<Packet, String> {
        match timeout(ANSWER, self.packets.recv()).await {
            Ok(Some(packet)) => {
                if let Packet::Publish(message) = &packet {
                    self.messages.push_back(message.clone());
                }
                Ok(packet)
            }
            Ok(None) => Err(format!("the connection ended, and {what} did not come")),
            Err(_) => Err(format!("{what} did not come")),
        }
    }

    /// Says DISCONNECT.
    pub async fn close(mut self) -> Result<(), String> {
        let said = self.client.disconnect().await;
        said.map_err(|error| error.to_string())?;
        // The broker closes the connection then, and the event loop ends.
        while self.packet("the end").await.is_ok() {}
        Ok(())
    }

    /// The network fails: no DISCONNECT. The event loop has the socket, and goes.
    pub async fn lose(mut self) {
        self.poller.abort();
        let _aborted = (&mut self.poller).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.poller.abort();
    }
}

/// Drives a client until its connection ends; polling on would connect again.
async fn poll(mut event_loop: EventLoop, packets: UnboundedSender<Packet>) {
    while let Ok(event) = event_loop.poll().await {
        if let Event::Incoming(packet) = event
            && packets.send(packet).is_err()
        {
            return;
        }
    }
}

fn mqtt_options(settings: &Settings, client_id: String, options: &Options) -> MqttOptions {
    let (host, port) = settings.address();
    let mut mqtt = MqttOptions::new(client_id, host, port);
    mqtt.set_transport(settings.transport());
    mqtt.set_keep_alive(Duration::from_secs(30));
    mqtt.set_clean_start(!options.resume);
    mqtt.set_session_expiry_interval(Some(options.expiry_secs));
    mqtt.set_receive_maximum(options.receive_maximum);
    mqtt.set_manual_acks(options.hold_acks);
    if let Some((user, password)) = &settings.login {
        mqtt.set_credentials(user, password);
    }
    if let Some((topic, payload, delay_secs)) = &options.will {
        let properties = LastWillProperties {
            delay_interval: Some(*delay_secs),
            payload_format_indicator: None,
            message_expiry_interval: None,
            content_type: None,
            response_topic: None,
            correlation_data: None,
            user_properties: Vec::new(),
        };
        let qos = QoS::AtLeastOnce;
        let will = LastWill::new(topic, payload.as_bytes(), qos, false, Some(properties));
        mqtt.set_last_will(will);
    }
    mqtt
}

fn level(qos: u8) -> QoS {
    match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}
