//! The scenarios, the same as in foreign/python/scenarios.py, where they are explained.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use tokio::time::timeout;

use crate::connection::{ANSWER, Connection, OpenError, Options};
use crate::mqtt311;
use crate::settings::Settings;

const WILL_DELAY_SECS: u32 = 1;
const CLOCK_SLACK: Duration = Duration::from_millis(100);
const RECEIVE_MAXIMUM: u16 = 2;
const BURST: usize = 60;
/// For one scenario, whatever it waits for.
const SCENARIO: Duration = Duration::from_secs(40);
/// Characters of an explanation.
const WHY_MAX: usize = 600;

type Outcome = Result<(), String>;

const NAMES: [&str; 11] = [
    "connect",
    "qos0",
    "qos1",
    "qos2",
    "retained",
    "will_delay",
    "shared",
    "persistent",
    "properties",
    "flow_in",
    "flow_out",
];

/// Runs all of them and prints a line for each.
pub async fn run(settings: &Settings) {
    for name in NAMES {
        let bench = Bench {
            settings,
            name,
            topic: format!("{}/{name}", settings.topics),
        };
        let outcome = timeout(SCENARIO, bench.run())
            .await
            .unwrap_or_else(|_| Err("it did not end".into()));
        match outcome {
            Ok(()) => println!("ok {name}"),
            Err(why) => {
                let why: String = why.replace('\n', " ").chars().take(WHY_MAX).collect();
                println!("not ok {name}: {why}");
            }
        }
    }
}

/// One scenario's names and expectations.
struct Bench<'a> {
    settings: &'a Settings,
    name: &'static str,
    topic: String,
}

impl Bench<'_> {
    async fn run(&self) -> Outcome {
        match self.name {
            "connect" => self.connect().await,
            "qos0" => self.qos(0).await,
            "qos1" => self.qos(1).await,
            "qos2" => self.qos(2).await,
            "retained" => self.retained().await,
            "will_delay" => self.will_delay().await,
            "shared" => self.shared().await,
            "persistent" => self.persistent().await,
            "properties" => self.properties().await,
            "flow_in" => self.flow_in().await,
            "flow_out" => self.flow_out().await,
            other => Err(format!("there is no scenario {other}")),
        }
    }

    fn client_id(&self, role: &str) -> String {
        format!("rumqttc-{}-{}-{role}", self.settings.transport, self.name)
    }

    async fn open(&self, role: &str, options: Options) -> Result<Connection, String> {
        Connection::open(self.settings, self.client_id(role), options)
            .await
            .map_err(|error| format!("{role}: {error:?}"))
    }

    async fn subscriber(&self, role: &str, qos: u8) -> Result<Connection, String> {
        let subscribe = vec![self.topic.clone()];
        let options = Options {
            subscribe,
            qos,
            ..Options::default()
        };
        self.open(role, options).await
    }

    async fn publisher(&self) -> Result<Connection, String> {
        self.open("pub", Options::default()).await
    }

    /// What must come; something else in a planted run.
    fn expected(&self, payloads: &[String]) -> Vec<String> {
        let planted = if self.settings.plant_wrong {
            "planted "
        } else {
            ""
        };
        payloads
            .iter()
            .map(|payload| format!("{planted}{payload}"))
            .collect()
    }

    /// The next messages have these payloads, in this order.
    async fn expect(
        &self,
        connection: &mut Connection,
        payloads: &[String],
    ) -> Result<Vec<Publish>, String> {
        let mut came = Vec::new();
        while came.len() < payloads.len() {
            came.push(connection.next().await?);
        }
        equal(texts(&came), self.expected(payloads))?;
        Ok(came)
    }

    async fn expect_one(
        &self,
        connection: &mut Connection,
        payload: &str,
    ) -> Result<Publish, String> {
        let mut came = self.expect(connection, &[payload.to_owned()]).await?;
        came.pop().ok_or_else(|| "no message".into())
    }

    async fn connect(&self) -> Outcome {
        let id = self.client_id("v4");
        let came = mqtt311::echo(self.settings, &id, &self.topic).await?;
        let came = String::from_utf8_lossy(&came).into_owned();
        equal(vec![came], self.expected(&["hello".to_owned()]))?;
        let mut connection = self.subscriber("v5", 0).await?;
        connection.publish(&self.topic, "hello", 0).await?;
        self.expect_one(&mut connection, "hello").await?;
        connection.close().await?;
        let wrong = self.settings.wrong();
        match Connection::open(&wrong, "stranger".to_owned(), Options::default()).await {
            Err(OpenError::Refused) => Ok(()),
            Err(OpenError::Other(why)) => Err(why),
            Ok(_) => Err("a wrong credential was let in".into()),
        }
    }

    async fn qos(&self, qos: u8) -> Outcome {
        let mut subscriber = self.subscriber("sub", qos).await?;
        let mut publisher = self.publisher().await?;
        let payloads = numbered("message", 5);
        for payload in &payloads {
            publisher.publish(&self.topic, payload, qos).await?;
        }
        let came = self.expect(&mut subscriber, &payloads).await?;
        let levels: Vec<u8> = came.iter().map(|message| message.qos as u8).collect();
        equal(levels, vec![qos; payloads.len()])
    }

    async fn retained(&self) -> Outcome {
        let mut publisher = self.publisher().await?;
        publisher.publish_retained(&self.topic, "kept").await?;
        let mut early = self.subscriber("early", 1).await?;
        let kept = self.expect_one(&mut early, "kept").await?;
        equal(kept.retain, true)?;
        publisher.publish_retained(&self.topic, "").await?;
        let mut late = self.subscriber("late", 1).await?;
        publisher.publish(&self.topic, "live", 1).await?;
        let live = self.expect_one(&mut late, "live").await?;
        equal(live.retain, false)
    }

    async fn will_delay(&self) -> Outcome {
        let mut watcher = self.subscriber("watcher", 1).await?;
        let mortal = self
            .open(
                "mortal",
                Options {
                    expiry_secs: 60,
                    will: Some((self.topic.clone(), "gone".into(), WILL_DELAY_SECS)),
                    ..Options::default()
                },
            )
            .await?;
        let lost = Instant::now();
        mortal.lose().await;
        self.expect_one(&mut watcher, "gone").await?;
        let waited = lost.elapsed();
        if waited + CLOCK_SLACK < Duration::from_secs(WILL_DELAY_SECS.into()) {
            return Err(format!("the will came after {waited:?}, before its delay"));
        }
        Ok(())
    }

    async fn shared(&self) -> Outcome {
        let worker = || Options {
            subscribe: vec![format!("$share/workers/{}", self.topic)],
            qos: 1,
            ..Options::default()
        };
        let mut first = self.open("worker0", worker()).await?;
        let mut second = self.open("worker1", worker()).await?;
        let mut publisher = self.publisher().await?;
        let payloads = numbered("job", 20);
        for payload in &payloads {
            publisher.publish(&self.topic, payload, 1).await?;
        }
        let mut done: [Vec<Publish>; 2] = Default::default();
        while done[0].len() + done[1].len() < payloads.len() {
            let either = async {
                tokio::select! {
                    message = first.next() => (0, message),
                    message = second.next() => (1, message),
                }
            };
            let (who, message) = timeout(ANSWER, either)
                .await
                .map_err(|_| "a job did not come".to_owned())?;
            done[who].push(message?);
        }
        // Each message once, and nobody got all of them.
        let has_some = [!done[0].is_empty(), !done[1].is_empty()];
        let mut all: Vec<String> = done.iter().flat_map(|part| texts(part)).collect();
        all.sort();
        equal(all, self.expected(&payloads))?;
        equal(has_some, [true, true])
    }

    async fn persistent(&self) -> Outcome {
        let options = Options {
            subscribe: vec![self.topic.clone()],
            qos: 1,
            expiry_secs: 300,
            ..Options::default()
        };
        let first = self.open("sleeper", options).await?;
        equal(first.session_present, false)?;
        first.close().await?;
        let mut publisher = self.publisher().await?;
        let payloads = numbered("while away", 5);
        for payload in &payloads {
            publisher.publish(&self.topic, payload, 1).await?;
        }
        let again = Options {
            resume: true,
            expiry_secs: 300,
            ..Options::default()
        };
        let mut second = self.open("sleeper", again).await?;
        equal(second.session_present, true)?;
        self.expect(&mut second, &payloads).await?;
        Ok(())
    }

    async fn properties(&self) -> Outcome {
        let mut subscriber = self.subscriber("sub", 1).await?;
        let mut publisher = self.publisher().await?;
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let sent = PublishProperties {
            content_type: Some("application/json; charset=utf-8".into()),
            response_topic: Some(format!("{}/answers", self.topic)),
            correlation_data: Some(vec![0, 0xff, b'i', b'd'].into()),
            user_properties: vec![
                pair("a", "1"),
                pair("a", "2"),
                pair("unit", "°C"),
                pair("b", ""),
            ],
            ..PublishProperties::default()
        };
        publisher
            .publish_with(&self.topic, "with properties", sent.clone())
            .await?;
        let came = self.expect_one(&mut subscriber, "with properties").await?;
        equal(came.properties, Some(sent))
    }

    async fn flow_in(&self) -> Outcome {
        let (data, marker) = (
            format!("{}/data", self.topic),
            format!("{}/marker", self.topic),
        );
        let options = Options {
            subscribe: vec![data.clone(), marker.clone()],
            qos: 1,
            receive_maximum: Some(RECEIVE_MAXIMUM),
            hold_acks: true,
            ..Options::default()
        };
        let mut subscriber = self.open("sub", options).await?;
        let mut publisher = self.publisher().await?;
        let payloads = numbered("message", 6);
        for payload in &payloads {
            publisher.publish(&data, payload, 1).await?;
        }
        // QoS 0 is not counted: it comes past the messages that have to wait.
        publisher.publish(&marker, "marker", 0).await?;
        let (first, rest) = payloads.split_at(RECEIVE_MAXIMUM.into());
        let mut expected = first.to_vec();
        expected.push("marker".into());
        let came = self.expect(&mut subscriber, &expected).await?;
        for message in came.iter().take(first.len()) {
            subscriber.acknowledge(message).await?;
        }
        for payload in rest {
            let message = self.expect_one(&mut subscriber, payload).await?;
            subscriber.acknowledge(&message).await?;
        }
        Ok(())
    }

    async fn flow_out(&self) -> Outcome {
        let mut subscriber = self.subscriber("sub", 2).await?;
        let mut publisher = self.publisher().await?;
        let payloads = numbered("message", BURST);
        publisher.publish_all(&self.topic, &payloads, 2).await?;
        self.expect(&mut subscriber, &payloads).await?;
        Ok(())
    }
}

fn texts(messages: &[Publish]) -> Vec<String> {
    let text = |message: &Publish| String::from_utf8_lossy(&message.payload).into_owned();
    messages.iter().map(text).collect()
}

fn numbered(what: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{what} {number:02}"))
        .collect()
}

fn equal<T: PartialEq + Debug>(actual: T, expected: T) -> Outcome {
    if actual == expected {
        return Ok(());
    }
    Err(format!("expected {expected:?}, but got {actual:?}"))
}
