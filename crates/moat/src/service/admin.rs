//! The admin socket: HTTP over a Unix socket, for the broker's own user and root.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use moat_api::{
    Audit, ENDPOINTS, Endpoint, EndpointMeta, GetStatus, PROBLEM_CONTENT_TYPE, Permission, Problem,
    ProblemKind,
};
use moat_events::Event;
use serde_json::Value;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::admin_socket::AdminSocket;
use crate::exit::Failure;
use crate::service::Service;

/// Connections at a time; more wait in the backlog of the socket.
const CONNECTIONS_MAX: usize = 16;
/// How long a request may take to arrive, in full.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last; it carries one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body of a request, in bytes.
const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// The longest path that goes into the audit log, in characters.
const AUDITED_PATH_CHARS_MAX: usize = 200;

/// What an endpoint does. It may block.
type Handler = fn(&Service) -> Result<Value, Problem>;

/// Who is at the other end of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// A process of this user.
    User(u32),
    /// The kernel would not say.
    Unknown,
}

/// Accepts connections until it is aborted.
///
/// # Errors
/// An endpoint of the definition has no handler, or the socket cannot be used.
pub(crate) fn start(
    socket: &AdminSocket,
    service: Arc<Service>,
) -> Result<JoinHandle<()>, Failure> {
    let failed =
        |error: io::Error| Failure::failed(format!("cannot serve the admin socket: {error}"));
    for endpoint in ENDPOINTS {
        if handler(endpoint.id).is_none() {
            let what = format!(
                "endpoint {} has no handler; this is a defect in moat",
                endpoint.id
            );
            return Err(Failure::failed(what));
        }
    }
    let listener = UnixListener::from_std(socket.listener().map_err(failed)?).map_err(failed)?;
    Ok(tokio::spawn(accept(listener, service)))
}

fn handler(id: &str) -> Option<Handler> {
    match id {
        GetStatus::ID => Some(|service| service.status().and_then(to_value)),
        _ => None,
    }
}

async fn accept(listener: UnixListener, service: Arc<Service>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = Arc::clone(&service);
                tokio::spawn(async move {
                    serve(stream, service).await;
                    drop(place);
                });
            }
            // No descriptors, most likely: others must close theirs first.
            Err(_) => tokio::time::sleep(HEAD_TIMEOUT).await,
        }
    }
}

async fn serve(stream: UnixStream, service: Arc<Service>) {
    let peer = stream
        .peer_cred()
        .map_or(Peer::Unknown, |peer| Peer::User(peer.uid()));
    let answer = move |request: Request| {
        let service = Arc::clone(&service);
        async move { guard(peer, service, request).await }
    };
    // The definition is small and flat: one route that looks the endpoint up, so that no path goes around the guard.
    let app: Router = Router::new().fallback(answer);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    // Whoever hangs up or is too slow has done so on their own.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await;
}

/// Around every handler: who is it, may they, open the record, run, close the record.
async fn guard(peer: Peer, service: Arc<Service>, request: Request) -> Response {
    let mut record = Record::open(peer, &request, &service);
    let done = match admit(peer, &request) {
        Ok((endpoint, handler)) => {
            if endpoint.audit == Audit::Change {
                record.write("started");
            }
            run(handler, service, request).await
        }
        Err(problem) => Err(problem),
    };
    let response = respond(done);
    record.outcome = response.status().as_u16().to_string();
    response
}

/// The endpoint, if the caller is known, there is one, and the caller may use it. In this order: a stranger learns
/// nothing about what there is.
fn admit(peer: Peer, request: &Request) -> Result<(&'static EndpointMeta, Handler), Problem> {
    authenticate(peer)?;
    let path = request.uri().path();
    let mut of_path = ENDPOINTS
        .iter()
        .filter(|endpoint| endpoint.path == path)
        .peekable();
    if of_path.peek().is_none() {
        return Err(ProblemKind::NotFound.problem(format!("no endpoint {path}")));
    }
    let method = request.method().as_str();
    let endpoint = of_path.find(|endpoint| endpoint.verb.method() == method);
    let Some((endpoint, handler)) = endpoint.and_then(|e| Some((e, handler(e.id)?))) else {
        return Err(ProblemKind::MethodNotAllowed.problem(format!("{path} has no {method}")));
    };
    authorize(peer, endpoint.permission)?;
    Ok((endpoint, handler))
}

fn authenticate(peer: Peer) -> Result<(), Problem> {
    let own = rustix::process::geteuid().as_raw();
    match peer {
        Peer::User(uid) if uid == 0 || uid == own => Ok(()),
        Peer::User(uid) => Err(ProblemKind::Unauthenticated
            .problem(format!("user id {uid} is neither the broker's nor root's"))),
        Peer::Unknown => {
            Err(ProblemKind::Unauthenticated.problem("the kernel does not say who is there"))
        }
    }
}

/// Whoever passes [`authenticate`] could as well change the broker's files, so every permission is theirs.
fn authorize(_peer: Peer, permission: Permission) -> Result<(), Problem> {
    match permission {
        Permission::StatusRead => Ok(()),
    }
}

/// No endpoint takes a body yet; one that comes all the same is a mistake of the caller.
async fn run(handler: Handler, service: Arc<Service>, request: Request) -> Result<Value, Problem> {
    let body = to_bytes(request.into_body(), REQUEST_BYTES_MAX)
        .await
        .map_err(|_| ProblemKind::TooLarge.problem(format!("at most {REQUEST_BYTES_MAX} bytes")))?;
    if !body.is_empty() {
        return Err(ProblemKind::BadRequest.problem("this endpoint takes no body"));
    }
    // It waits for packet threads, which must not hold up the signals.
    tokio::task::spawn_blocking(move || handler(&service))
        .await
        .unwrap_or_else(|_| Err(ProblemKind::Internal.problem("the handler panicked")))
}

fn to_value(answer: impl serde::Serialize) -> Result<Value, Problem> {
    serde_json::to_value(answer).map_err(|error| ProblemKind::Internal.problem(error.to_string()))
}

fn respond(done: Result<Value, Problem>) -> Response {
    let (status, content_type, body) = match done {
        Ok(value) => (200, "application/json", value.to_string()),
        Err(problem) => (
            problem.status,
            PROBLEM_CONTENT_TYPE,
            serde_json::to_string(&problem).unwrap_or_default(),
        ),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// The audit record of one request; it is closed when it is dropped, also if the caller hangs up.
struct Record {
    service: Arc<Service>,
    method: String,
    path: String,
    peer: String,
    outcome: String,
}

impl Record {
    fn open(peer: Peer, request: &Request, service: &Arc<Service>) -> Self {
        Self {
            service: Arc::clone(service),
            method: request.method().to_string(),
            path: request
                .uri()
                .path()
                .chars()
                .take(AUDITED_PATH_CHARS_MAX)
                .collect(),
            peer: match peer {
                Peer::User(uid) => format!("user id {uid}"),
                Peer::Unknown => "unknown".to_owned(),
            },
            outcome: "abandoned".to_owned(),
        }
    }

    fn write(&self, outcome: &str) {
        self.service.events.send(Event::AdminRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            peer: self.peer.clone(),
            outcome: outcome.to_owned(),
        });
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.write(&self.outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(peer: Peer, method: &str, path: &str) -> Option<u16> {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).unwrap();
        admit(peer, &request).err().map(|problem| problem.status)
    }

    #[test]
    fn the_own_user_and_root_may_read_the_status() {
        let own = rustix::process::geteuid().as_raw();
        for uid in [0, own] {
            assert_eq!(problem(Peer::User(uid), "GET", "/v1/status"), None);
        }
    }

    #[test]
    fn a_stranger_is_refused_before_it_learns_what_there_is() {
        for peer in [Peer::User(u32::MAX - 1), Peer::Unknown] {
            for path in ["/v1/status", "/v1/nothing"] {
                assert_eq!(problem(peer, "GET", path), Some(401));
            }
        }
    }

    #[test]
    fn unknown_paths_and_methods_are_told_apart() {
        assert_eq!(problem(Peer::User(0), "GET", "/v1/nothing"), Some(404));
        assert_eq!(problem(Peer::User(0), "GET", "/v1/status/"), Some(404));
        assert_eq!(problem(Peer::User(0), "POST", "/v1/status"), Some(405));
    }

    #[test]
    fn every_endpoint_has_a_handler() {
        for endpoint in ENDPOINTS {
            assert!(handler(endpoint.id).is_some(), "{}", endpoint.id);
        }
    }

    #[test]
    fn a_problem_keeps_its_status_and_content_type() {
        let response = respond(Err(ProblemKind::Forbidden.problem("no")));
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_CONTENT_TYPE);
    }
}
