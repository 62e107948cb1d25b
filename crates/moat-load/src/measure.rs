//! What a process costs: its processor time to the nanosecond, its memory, its context switches.

use std::fs;
use std::sync::LazyLock;
use std::time::Instant;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since the first call.
#[inline]
pub(crate) fn now_ns() -> u64 {
    START.elapsed().as_nanos() as u64
}

/// The state of the broker's process and of this one at one moment.
#[derive(Clone, Copy, Default)]
pub(crate) struct Snapshot {
    /// Processor time of all threads of the broker.
    pub(crate) cpu_ns: u64,
    pub(crate) user_ms: u64,
    pub(crate) sys_ms: u64,
    pub(crate) rss_kb: u64,
    /// Processor time of this process.
    pub(crate) own_ns: u64,
    /// Context switches of the broker's living threads, voluntary or not.
    pub(crate) switches: u64,
    pub(crate) at_ns: u64,
}

impl Snapshot {
    /// Looks at the process `pid`; with 0 only at this one.
    pub(crate) fn take(pid: i32) -> Self {
        let mut snapshot = Self {
            at_ns: now_ns(),
            own_ns: cpu_ns(0),
            ..Self::default()
        };
        if pid > 0 {
            snapshot.cpu_ns = cpu_ns(pid);
            snapshot.rss_kb = rss_kb(pid);
            snapshot.switches = switches(pid);
            (snapshot.user_ms, snapshot.sys_ms) = ticks(pid);
        }
        snapshot
    }

    /// Seconds from `earlier` to this one.
    pub(crate) fn secs_since(&self, earlier: &Self) -> f64 {
        (self.at_ns.saturating_sub(earlier.at_ns)) as f64 / 1e9
    }

    /// The broker's microseconds of processor time since `earlier`, for each of `units`.
    pub(crate) fn us_per(&self, earlier: &Self, units: u64) -> f64 {
        self.cpu_ns.saturating_sub(earlier.cpu_ns) as f64 / 1e3 / units.max(1) as f64
    }

    /// How many bytes the broker has grown since `earlier`, for each of `units`.
    pub(crate) fn bytes_per(&self, earlier: &Self, units: u64) -> f64 {
        self.rss_kb.saturating_sub(earlier.rss_kb) as f64 * 1024.0 / units.max(1) as f64
    }
}

fn cpu_ns(pid: i32) -> u64 {
    let clock = if pid == 0 {
        Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID)
    } else {
        clock_getcpuclockid(Pid::from_raw(pid))
    };
    let time = clock.and_then(clock_gettime);
    time.map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}

fn rss_kb(pid: i32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn switches(pid: i32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    let of_thread = |status: String| -> u64 {
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        fields
            .filter(|(key, _)| key.ends_with("ctxt_switches"))
            .filter_map(|(_, value)| value.trim().parse::<u64>().ok())
            .sum()
    };
    threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok())
        .map(of_thread)
        .sum()
}

/// User and system time in milliseconds, as coarse as the kernel's ticks.
fn ticks(pid: i32) -> (u64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program, in brackets, may have spaces.
    let Some((_, rest)) = stat.rsplit_once(") ") else {
        return (0, 0);
    };
    let per_sec = rustix::param::clock_ticks_per_second().max(1);
    let mut fields = rest
        .split_whitespace()
        .skip(11)
        .map(|field| field.parse::<u64>().unwrap_or(0) * 1000 / per_sec);
    (fields.next().unwrap_or(0), fields.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_works_has_used_time_and_memory() {
        let pid = std::process::id() as i32;
        let before = Snapshot::take(pid);
        let mut sum = 0u64;
        while Snapshot::take(pid).cpu_ns < before.cpu_ns + 1_000_000 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let after = Snapshot::take(pid);
        assert!(after.us_per(&before, 1) >= 1000.0);
        assert!(after.own_ns > before.own_ns);
        assert!(after.rss_kb > 100);
        assert!(after.secs_since(&before) > 0.0);
    }

    #[test]
    fn a_process_that_is_not_there_costs_nothing() {
        // Beyond every process id, but not beyond what the id of a clock can hold.
        let gone = Snapshot::take(i32::MAX / 16);
        assert_eq!((gone.cpu_ns, gone.rss_kb, gone.switches), (0, 0, 0));
    }
}
