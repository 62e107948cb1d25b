//! A session and who it belongs to.

use std::sync::Arc;

use moat_core::Time;
use moat_core::durable::SessionRecord;
use moat_policy::{CertificateFacts, Identity, Source};

use super::bytes::{Input, Malformed, Output};

/// Kinds of credentials by their number in the store; only ever added to.
const SOURCES: [Source; 4] = [
    Source::Certificate,
    Source::Password,
    Source::Method,
    Source::Anonymous,
];

/// The value of a session.
pub(super) fn encode(record: &SessionRecord, out: &mut Output) {
    out.byte(super::VALUE_VERSION);
    out.piece(record.client_id.as_bytes());
    out.varint(u64::from(record.expiry_secs));
    out.option(record.offline_since, |out, since| {
        out.varint(since.millis());
    });
    encode_identity(&record.identity, out);
}

/// A session of its value.
pub(super) fn decode(value: &[u8]) -> Result<SessionRecord, Malformed> {
    let mut input = Input::versioned(value)?;
    let client_id = input.text("the client id")?.into();
    let expiry_secs = input.number("the session expiry")?;
    let offline_since = input.option(|input| input.varint().map(Time::from_millis))?;
    let identity = Arc::new(decode_identity(&mut input)?);
    input.end()?;
    Ok(SessionRecord {
        identity,
        client_id,
        expiry_secs,
        offline_since,
    })
}

fn encode_identity(identity: &Identity, out: &mut Output) {
    out.piece(identity.name.as_bytes());
    out.byte(source_number(identity.source));
    // A user name is as a rule the name itself.
    match &identity.username {
        None => out.byte(0),
        Some(username) if **username == *identity.name => out.byte(1),
        Some(username) => {
            out.byte(2);
            out.piece(username.as_bytes());
        }
    }
    texts(&identity.groups, out);
    out.option(identity.expires_at, Output::moment);
    out.option(identity.certificate.as_ref(), |out, facts| {
        out.option(facts.common_name.as_ref(), |out, name| {
            out.piece(name.as_bytes());
        });
        texts(&facts.san_dns, out);
        texts(&facts.san_uri, out);
        texts(&facts.san_email, out);
        out.piece(&facts.issuer);
        out.piece(&facts.serial);
        out.moment(facts.not_after);
    });
}

fn decode_identity(input: &mut Input<'_>) -> Result<Identity, Malformed> {
    let name: Arc<str> = input.text("the name of an identity")?.into();
    let source = SOURCES
        .get(usize::from(input.byte()?))
        .copied()
        .ok_or(Malformed::OutOfRange("the source of an identity"))?;
    let username = match input.byte()? {
        0 => None,
        1 => Some(Arc::clone(&name)),
        2 => Some(input.text("a user name")?.into()),
        _ => return Err(Malformed::OutOfRange("the kind of a user name")),
    };
    Ok(Identity {
        name,
        source,
        username,
        groups: read_texts(input, "a group")?,
        expires_at: input.option(Input::moment)?,
        certificate: input.option(decode_certificate)?.map(Box::new),
    })
}

fn decode_certificate(input: &mut Input<'_>) -> Result<CertificateFacts, Malformed> {
    Ok(CertificateFacts {
        common_name: input.option(|input| input.text("a common name").map(Arc::from))?,
        san_dns: read_texts(input, "a DNS name")?,
        san_uri: read_texts(input, "a URI")?,
        san_email: read_texts(input, "an e-mail address")?,
        issuer: input.piece()?.into(),
        serial: input.piece()?.into(),
        not_after: input.moment()?,
    })
}

fn source_number(source: Source) -> u8 {
    match source {
        Source::Certificate => 0,
        Source::Password => 1,
        Source::Method => 2,
        Source::Anonymous => 3,
    }
}

fn texts(texts: &[Arc<str>], out: &mut Output) {
    out.count(texts.len());
    for text in texts {
        out.piece(text.as_bytes());
    }
}

fn read_texts(input: &mut Input<'_>, what: &'static str) -> Result<Vec<Arc<str>>, Malformed> {
    let count = input.count(1)?;
    (0..count)
        .map(|_| input.text(what).map(Arc::from))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_the_number_it_is_read_by() {
        for source in SOURCES {
            assert_eq!(SOURCES[usize::from(source_number(source))], source);
        }
    }

    #[test]
    fn a_user_name_that_is_the_name_is_the_same_text() {
        let record = SessionRecord {
            identity: Arc::new(Identity::from_password("anna")),
            client_id: "c".into(),
            expiry_secs: 1,
            offline_since: None,
        };
        let mut out = Output::default();
        encode(&record, &mut out);
        let read = decode(&out.take()).unwrap();
        assert_eq!(read, record);
        let username = read.identity.username.as_ref().unwrap();
        assert!(Arc::ptr_eq(username, &read.identity.name));
    }
}
