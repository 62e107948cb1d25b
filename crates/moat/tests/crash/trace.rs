//! What a program asked of the file system, from the log that strace wrote of it.

use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// What is watched: all that changes files and folders, and what says which file a descriptor is.
const WATCHED: &str = "openat,open,creat,read,readv,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,fallocate,\
                       rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,\
                       fsync,fdatasync,sync,syncfs,sync_file_range,close,dup,dup2,dup3,fcntl,lseek,copy_file_range,\
                       sendfile,splice,mmap,msync,chdir,io_uring_setup,clone,fork,vfork,clone3";
/// Longer than any write.
const STRING_BYTES_MAX: &str = "67108864";
/// How long strace may take to write down the end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program that runs another one and writes what it does into `log`. The process started is the other one's.
pub(crate) fn strace(log: &Path) -> Vec<String> {
    let trace = format!("trace={WATCHED}");
    let log = log.display().to_string();
    let words = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-ttt",
        "-T",
        "-xx",
        "--seccomp-bpf",
        "-s",
        STRING_BYTES_MAX,
        "-o",
        &log,
        "-e",
        &trace,
        "-e",
        "signal=none",
    ];
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A system call that did not fail.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    /// When it was made. Unit: microseconds since 1970.
    pub(crate) begun: u64,
    /// When it returned; never, if the program ended before.
    pub(crate) ended: u64,
    pub(crate) name: String,
    pub(crate) args: Vec<String>,
    /// What it returned; of one that never returned, 0.
    pub(crate) result: i64,
}

impl Call {
    /// An argument that is a number, like a descriptor.
    pub(crate) fn number(&self, place: usize) -> i64 {
        let text = &self.args[place];
        text.parse()
            .unwrap_or_else(|_| panic!("not a number: {text} in {self:?}"))
    }

    /// The bytes of the strings in an argument, one after the other.
    pub(crate) fn bytes(&self, place: usize) -> Vec<u8> {
        let mut pieces = self.args[place].split('"');
        let mut bytes = Vec::new();
        // What is between quotes is every second piece.
        while let (Some(_), Some(quoted)) = (pieces.next(), pieces.next()) {
            bytes.extend(unescaped(quoted));
        }
        bytes
    }

    /// Whether a word is among those of an argument that are joined by `|`.
    pub(crate) fn has_flag(&self, place: usize, flag: &str) -> bool {
        let flags = self.args.get(place);
        flags.is_some_and(|flags| flags.split('|').any(|word| word == flag))
    }
}

/// Reads the log of a program that has ended, in the order in which calls returned; those that never did come last.
pub(crate) fn read(log: &Path, process: u32) -> Vec<Call> {
    let until = Instant::now() + PATIENCE;
    // strace writes the rest when the program is gone, and then ends.
    while is_traced(process, log) {
        assert!(Instant::now() < until, "strace does not end");
        std::thread::park_timeout(Duration::from_millis(10));
    }
    parse(&std::fs::read_to_string(log).unwrap())
}

/// Whether a strace still writes to the log: some process has it open.
fn is_traced(process: u32, log: &Path) -> bool {
    let alive = Path::new("/proc")
        .join(process.to_string())
        .join("root")
        .exists();
    let folders = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let mut descriptors = folders
        .filter_map(|folder| std::fs::read_dir(folder.path().join("fd")).ok())
        .flat_map(|entries| entries.filter_map(Result::ok));
    let log = std::fs::canonicalize(log).unwrap();
    alive || descriptors.any(|entry| std::fs::read_link(entry.path()).is_ok_and(|file| file == log))
}

pub(crate) fn parse(log: &str) -> Vec<Call> {
    let mut open: HashMap<&str, (u64, String)> = HashMap::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let (thread, rest) = line.split_once(' ').unwrap();
        let (at, rest) = rest.trim_start().split_once(' ').unwrap();
        let at = micros(at);
        if rest.starts_with("+++") || rest.starts_with("---") {
            continue;
        }
        if let Some(rest) = rest.strip_prefix("<... ") {
            let (_, rest) = rest.split_once(" resumed>").unwrap();
            let (begun, head) = open.remove(thread).unwrap();
            calls.extend(call(begun, Some(at), &format!("{head}{rest}")));
        } else if let Some(head) = rest.strip_suffix("<unfinished ...>") {
            open.insert(thread, (at, head.to_owned()));
        } else {
            calls.extend(call(at, None, rest));
        }
    }
    // Who ended within a call.
    for (_, (begun, head)) in open {
        calls.extend(call(begun, Some(u64::MAX), &format!("{head}) = 0 <0>")));
    }
    calls
}

/// `name(args) = result <seconds>`; nothing if it failed.
fn call(begun: u64, ended: Option<u64>, text: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(').unwrap();
    let (args, outcome) = rest
        .rsplit_once(" = ")
        .unwrap_or_else(|| panic!("{}", head(text)));
    let args = args
        .trim_end()
        .strip_suffix(')')
        .unwrap_or_else(|| panic!("{}", head(text)));
    let result = outcome.split(' ').next().unwrap();
    let took = outcome
        .rsplit_once('<')
        .and_then(|(_, took)| took.strip_suffix('>'));
    let result = match result.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
        // It ended in it, or with it.
        None if result == "?" => 0,
        None => result.parse().unwrap_or_else(|_| panic!("{}", head(text))),
    };
    (result >= 0).then(|| Call {
        begun,
        ended: ended.unwrap_or_else(|| begun + took.map_or(0, micros)),
        name: name.to_owned(),
        args: split(args),
        result,
    })
}

/// The arguments, cut at commas that are in no string, brackets or braces.
fn split(args: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let (mut depth, mut is_quoted) = (0_u32, false);
    for c in args.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '[' | '{' if !is_quoted => depth += 1,
            ']' | '}' if !is_quoted => depth -= 1,
            ',' if !is_quoted && depth == 0 => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        words.last_mut().unwrap().push(c);
    }
    words.iter().map(|word| word.trim().to_owned()).collect()
}

/// The bytes of `\x61\x62`.
fn unescaped(text: &str) -> Vec<u8> {
    let mut digits = text.split("\\x");
    assert_eq!(
        digits.next(),
        Some(""),
        "not of the form that -xx writes: {}",
        head(text)
    );
    digits
        .map(|hex| u8::from_str_radix(hex, 16).unwrap())
        .collect()
}

/// `seconds.micros` as microseconds.
fn micros(text: &str) -> u64 {
    let (secs, micros) = text.split_once('.').unwrap_or((text, "0"));
    secs.parse::<u64>().unwrap() * 1_000_000 + micros.parse::<u64>().unwrap()
}

fn head(text: &str) -> String {
    text.chars().take(200).collect()
}

#[test]
fn calls_are_read_with_their_strings_and_times() {
    let calls = parse(concat!(
        "12 100.000005 openat(AT_FDCWD, \"\\x2f\\x61\", O_RDWR|O_CREAT, 0777) = 3 <0.000100>\n",
        "12 100.000200 writev(3, [{iov_base=\"\\x61\\x2c\", iov_len=2}, {iov_base=\"\\x62\", iov_len=1}], 2) = 3 <0.000010>\n",
        "13 100.000300 fdatasync(3 <unfinished ...>\n",
        "12 100.000310 read(4, \"\", 10) = 0 <0.000001>\n",
        "13 100.000400 <... fdatasync resumed>) = 0 <0.000100>\n",
        "12 100.000500 fsync(7) = -1 EBADF (Bad file descriptor) <0.000005>\n",
        "12 100.000600 write(3, \"\\x63\", 1 <unfinished ...>\n",
        "13 100.000700 +++ killed by SIGKILL +++\n",
    ));
    let names: Vec<_> = calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(names, ["openat", "writev", "read", "fdatasync", "write"]);
    assert_eq!(calls[0].bytes(1), b"/a");
    assert!(calls[0].has_flag(2, "O_CREAT") && !calls[0].has_flag(2, "O_APPEND"));
    assert_eq!((calls[0].begun, calls[0].ended), (100_000_005, 100_000_105));
    assert_eq!(
        (calls[1].number(0), calls[1].bytes(1)),
        (3, b"a,b".to_vec())
    );
    assert_eq!((calls[3].begun, calls[3].ended), (100_000_300, 100_000_400));
    assert_eq!(
        (calls[4].bytes(1), calls[4].ended),
        (b"c".to_vec(), u64::MAX)
    );
}
