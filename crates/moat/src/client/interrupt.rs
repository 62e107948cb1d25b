//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Calls `act` at Ctrl-C or SIGTERM instead of ending the program, from the moment this returns. Where the system has no
/// room for that, they end it at once.
pub(crate) fn on_interrupt(act: impl FnOnce() + Send + 'static) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
    else {
        return;
    };
    let signals = {
        let _entered = runtime.enter();
        (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
        )
    };
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return;
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        act();
    });
}
