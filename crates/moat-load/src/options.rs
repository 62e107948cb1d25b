//! The command line.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use crate::homes::Homes;
use crate::packet;
use crate::scenario::Scenario;

pub(crate) const USAGE: &str = "\
usage: mqload SCENARIO [OPTION...]

scenarios
  fanout         --pubs P publishers to one topic with --subs N subscribers
  fanin          --pubs N publishers with topics of their own, --subs S subscribers of all of them
  p2p            --pairs N of one publisher and one subscriber
  connect        --n N times connect and disconnect, --concurrency C at once
  idle           --n N connections with a subscription each (--subs 0: none): memory, processor time at rest
  retained       stores --n N retained messages; --rounds R subscribers to all of them
  persist        --n N sessions go away, get --msgs K each, and come back
  unwanted       --pubs N publishers to topics nobody subscribes to
  subscriptions  --n N filters (--wildcards), by --subs connections: memory for each, time of messages that match one;
                 with --churn PER_S, that many filters come and go while --pairs talk
  floor          --port P: a server that does a broker's socket work and nothing else;
                 --cert FILE --key FILE [--client-ca FILE]: a bare accept over TLS that answers CONNECT

options
  --addr 127.0.0.1:1883  --v5  --user U  --pass P  --label TEXT  --broker-pid PID
  --qos 0|1|2  --sub-qos Q  --payload 64  --secs 5  --warmup 1  --latency  --user-properties N
  --rate MSGS_PER_S  of all publishers together; 0 is as fast as it goes
  --durable                 subscribers have sessions that outlive their connections
  --homes same|across       p2p with moat: publisher and subscriber of a pair are at home in the same packet thread, or not
  --share  --retain  --no-clear  --settle SECS  --keepalive SECS
  --batch 16  --batches 4   a publisher has batch x batches messages under way
  --inflight 1000           unacknowledged at most
  --tls --ca FILE  --cert FILE --key FILE  --resume  --tls12  --sni NAME
  --src-ips K  --rcvbuf BYTES  --rbuf BYTES
";

/// Everything a run can be told. Fields are named like their options.
pub(crate) struct Options {
    pub(crate) scenario: Scenario,
    pub(crate) addr: SocketAddr,
    pub(crate) port: u16,
    pub(crate) v5: bool,
    pub(crate) qos: u8,
    pub(crate) sub_qos: u8,
    pub(crate) payload_bytes: usize,
    pub(crate) user_properties: usize,
    pub(crate) retain: bool,
    pub(crate) pubs: usize,
    pub(crate) subs: Option<usize>,
    pub(crate) pairs: usize,
    pub(crate) n: usize,
    pub(crate) msgs: usize,
    pub(crate) rounds: usize,
    pub(crate) batch: usize,
    pub(crate) batches: usize,
    pub(crate) inflight: usize,
    pub(crate) rate: f64,
    pub(crate) churn: f64,
    pub(crate) wildcards: bool,
    pub(crate) latency: bool,
    pub(crate) durable: bool,
    pub(crate) warmup_secs: f64,
    pub(crate) secs: f64,
    pub(crate) settle_secs: f64,
    pub(crate) concurrency: usize,
    pub(crate) share: bool,
    pub(crate) homes: Option<Homes>,
    pub(crate) clear: bool,
    pub(crate) tls: bool,
    pub(crate) tls12: bool,
    pub(crate) resume: bool,
    pub(crate) ca: Option<String>,
    pub(crate) client_ca: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) sni: String,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) keepalive_secs: u16,
    pub(crate) source_addresses: usize,
    pub(crate) receive_buffer_bytes: u32,
    pub(crate) buffer_bytes: usize,
    pub(crate) broker_pid: i32,
    pub(crate) label: String,
}

impl Options {
    /// Reads the words after the name of the program.
    ///
    /// # Errors
    /// An option nobody knows, without its value or with one that does not fit.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut words = words.into_iter();
        let mut options = Self::new(words.next().ok_or_else(|| USAGE.to_owned())?.parse()?);
        while let Some(word) = words.next() {
            if !options.set_flag(&word) {
                let value = words
                    .next()
                    .ok_or_else(|| format!("{word}: not known, or its value is missing"))?;
                options.set(&word, value)?;
            }
        }
        if !options.addr.ip().is_loopback() {
            return Err(format!("--addr {}: only loopback is allowed", options.addr));
        }
        if options.homes.is_some() && options.broker_pid == 0 {
            let why = "it looks at the broker's threads";
            return Err(format!("--homes: {why}, so --broker-pid has to be given"));
        }
        if options.buffer_bytes == 0 {
            options.buffer_bytes = options.usual_buffer_bytes();
        }
        Ok(options)
    }

    fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 1883)),
            port: 18830,
            v5: false,
            qos: 0,
            sub_qos: u8::MAX,
            payload_bytes: 64,
            user_properties: 0,
            retain: false,
            pubs: 1,
            subs: None,
            pairs: 50,
            n: 1000,
            msgs: 100,
            rounds: 5,
            batch: 16,
            batches: 4,
            inflight: 1000,
            rate: 0.0,
            churn: 0.0,
            wildcards: false,
            latency: false,
            durable: false,
            warmup_secs: 1.0,
            secs: 5.0,
            settle_secs: 1.0,
            concurrency: 32,
            share: false,
            homes: None,
            clear: true,
            tls: false,
            tls12: false,
            resume: false,
            ca: None,
            client_ca: None,
            cert: None,
            key: None,
            sni: "localhost".to_owned(),
            user: None,
            password: None,
            keepalive_secs: 300,
            source_addresses: 0,
            receive_buffer_bytes: 0,
            buffer_bytes: 0,
            broker_pid: 0,
            label: String::new(),
        }
    }

    fn set_flag(&mut self, word: &str) -> bool {
        match word {
            "--v5" => self.v5 = true,
            "--retain" => self.retain = true,
            "--latency" => self.latency = true,
            "--durable" => self.durable = true,
            "--share" => self.share = true,
            "--no-clear" => self.clear = false,
            "--tls" => self.tls = true,
            "--tls12" => self.tls12 = true,
            "--resume" => self.resume = true,
            "--wildcards" => self.wildcards = true,
            _ => return false,
        }
        true
    }

    fn set(&mut self, word: &str, value: String) -> Result<(), String> {
        match word {
            "--addr" => self.addr = number(word, &value)?,
            "--port" => self.port = number(word, &value)?,
            "--qos" => self.qos = quality(word, &value)?,
            "--sub-qos" => self.sub_qos = quality(word, &value)?,
            "--payload" => {
                self.payload_bytes = number::<usize>(word, &value)?.max(packet::HEADER_BYTES);
            }
            "--user-properties" => self.user_properties = number(word, &value)?,
            "--pubs" => self.pubs = number(word, &value)?,
            "--subs" => self.subs = Some(number(word, &value)?),
            "--pairs" => self.pairs = number(word, &value)?,
            "--n" => self.n = number(word, &value)?,
            "--msgs" => self.msgs = number(word, &value)?,
            "--rounds" => self.rounds = number(word, &value)?,
            "--batch" => self.batch = number::<usize>(word, &value)?.max(1),
            "--batches" => self.batches = number::<usize>(word, &value)?.max(1),
            "--inflight" => self.inflight = number(word, &value)?,
            "--rate" => self.rate = number(word, &value)?,
            "--churn" => self.churn = number(word, &value)?,
            "--warmup" => self.warmup_secs = seconds(word, &value)?,
            "--secs" => self.secs = seconds(word, &value)?,
            "--settle" => self.settle_secs = seconds(word, &value)?,
            "--concurrency" => self.concurrency = number(word, &value)?,
            "--ca" => self.ca = Some(value),
            "--client-ca" => self.client_ca = Some(value),
            "--cert" => self.cert = Some(value),
            "--key" => self.key = Some(value),
            "--homes" => {
                self.homes = Some(
                    value
                        .parse()
                        .map_err(|error| format!("{word} {value}: {error}"))?,
                )
            }
            "--sni" => self.sni = value,
            "--user" => self.user = Some(value),
            "--pass" => self.password = Some(value),
            "--keepalive" => self.keepalive_secs = number(word, &value)?,
            "--src-ips" => self.source_addresses = number(word, &value)?,
            "--rcvbuf" => self.receive_buffer_bytes = number(word, &value)?,
            "--rbuf" => self.buffer_bytes = number(word, &value)?,
            "--broker-pid" => self.broker_pid = number(word, &value)?,
            "--label" => self.label = value,
            _ => return Err(format!("{word}: no such option\n{USAGE}")),
        }
        Ok(())
    }

    /// The QoS subscribers ask for.
    pub(crate) fn sub_qos(&self) -> u8 {
        if self.sub_qos == u8::MAX {
            self.qos
        } else {
            self.sub_qos
        }
    }

    pub(crate) fn subs(&self) -> usize {
        self.subs.unwrap_or(1)
    }

    pub(crate) fn protocol(&self) -> &'static str {
        if self.v5 { "v5" } else { "v4" }
    }

    pub(crate) fn mode(&self) -> &'static str {
        match (self.tls, &self.cert) {
            (false, _) => "plain",
            (true, None) => "tls",
            (true, Some(_)) => "mtls",
        }
    }

    /// What every PUBLISH to `topic` has in common.
    pub(crate) fn publish<'a>(&self, topic: &'a str) -> packet::Publish<'a> {
        packet::Publish {
            v5: self.v5,
            topic,
            qos: self.qos,
            retain: self.retain,
            payload_bytes: self.payload_bytes,
            user_properties: if self.v5 { self.user_properties } else { 0 },
        }
    }

    /// Big where a connection gets much, small where there are many.
    fn usual_buffer_bytes(&self) -> usize {
        match self.scenario {
            Scenario::Idle | Scenario::Connect => 256,
            Scenario::Persist => 4096,
            Scenario::Retained => 256 * 1024,
            _ if self.subs() > 200 => 16 * 1024,
            _ => 64 * 1024,
        }
    }
}

fn number<T: FromStr>(word: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{word} {value}: not a value for it"))
}

fn quality(word: &str, value: &str) -> Result<u8, String> {
    match number(word, value)? {
        qos @ 0..=2 => Ok(qos),
        other => Err(format!("{word} {other}: allowed are 0, 1 and 2")),
    }
}

fn seconds(word: &str, value: &str) -> Result<f64, String> {
    let secs: f64 = number(word, value)?;
    if (0.0..=86_400.0).contains(&secs) {
        return Ok(secs);
    }
    Err(format!("{word} {value}: allowed are 0 to 86400 seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_are_read_and_subscribers_ask_for_the_qos_of_publishers() {
        let options = parse("p2p --pairs 7 --qos 2 --v5 --user-properties 2 --latency").unwrap();
        assert_eq!((options.pairs, options.sub_qos()), (7, 2));
        assert_eq!(options.publish("a").user_properties, 2);
        assert_eq!(
            parse("p2p --user-properties 2")
                .unwrap()
                .publish("a")
                .user_properties,
            0
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (line, says) in [
            ("p2pp", "no such scenario"),
            ("p2p --qos 3", "--qos 3"),
            ("p2p --pears 3", "--pears"),
            ("p2p --pairs", "--pairs"),
            ("p2p --homes same", "--broker-pid has to be given"),
            ("p2p --secs -1", "--secs -1"),
            ("p2p --addr 192.0.2.1:1883", "only loopback"),
        ] {
            let error = parse(line).err().unwrap_or_default();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
