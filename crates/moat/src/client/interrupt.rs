//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Calls `act` at Ctrl-C or SIGTERM instead of ending the program. Without the thread they end it at once.
pub(crate) fn on_interrupt(act: impl FnOnce() + Send + 'static) {
    let wait = async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        ) else {
            return;
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        act();
    };
    std::thread::spawn(move || {
        if let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
        {
            runtime.block_on(wait);
        }
    });
}
