//! The request log under a disk that is full, read-only, gone, damaged or
//! slow: requests go on, what is lost is counted and said once, and the log
//! goes on when it can.

#![cfg(unix)]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use support::{ASK, Daemon, Home, Provider, Reply, chain_config, chain_config_with, get, post_chat};

const CHAT: &str = "/v1/chat/completions";
/// A request that is recorded and for which nobody is asked.
const UNKNOWN: &str = r#"{"model":"nobody-knows-it","messages":[{"role":"user","content":"hi"}]}"#;
/// How the one warning about lost records ends its number.
const LOST: &str = "request records could not be stored";

// Requests, and what is told of them.

/// Asks so many times on one connection; every answer must be a good one.
#[track_caller]
fn ask(daemon: &Daemon, count: usize) {
    let mut client = daemon.client();
    for number in 0..count {
        let answer = client.post_chat(support::ASK);
        assert_eq!(answer.status, 200, "request {number}: {}", answer.text());
    }
}

/// Asks once under this id.
#[track_caller]
fn ask_as(daemon: &Daemon, id: &str) {
    let headers = [("content-type", "application/json"), ("x-request-id", id)];
    assert_eq!(daemon.client().request("POST", CHAT, &headers, support::ASK).status, 200);
}

/// Sends requests that cost little until `enough` says so, on four
/// connections; gives how many were sent. Every one of them must be answered.
#[track_caller]
fn flood(daemon: &Daemon, enough: impl Fn(usize) -> bool + Sync) -> usize {
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = daemon.client();
                while !enough(sent.fetch_add(1, Ordering::SeqCst)) {
                    assert_eq!(client.post_chat(UNKNOWN).status, 404);
                }
                sent.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    sent.into_inner()
}

/// What `status --json` says of the records that were lost.
#[track_caller]
fn dropped(home: &Home, state: &Path) -> u64 {
    let done = home.run(&["status", "--json", "--state", &state.display().to_string()]).expect_code(0);
    let status: Value = serde_json::from_str(&done.stdout).expect("JSON");
    status["log_dropped"].as_u64().expect("a number")
}

/// Asks again and again until records are lost; then until they are kept again
/// after `repair`. Requests are answered all the time, and one warning comes.
#[track_caller]
fn loses_and_goes_on(daemon: &Daemon, repair: impl FnOnce()) {
    eventually("records are lost", || {
        ask(daemon, 5);
        dropped(daemon.home(), &daemon.state_dir()) > 0
    });
    repair();
    goes_on(daemon);
    let stderr = daemon.stderr();
    assert_eq!(stderr.matches(LOST).count(), 1, "one warning a minute: {stderr}");
}

/// A new record is in the log, and no more are lost.
#[track_caller]
fn goes_on(daemon: &Daemon) {
    let number = AtomicUsize::new(0);
    eventually("the log goes on", || {
        let id = format!("again-{}", number.fetch_add(1, Ordering::SeqCst));
        ask_as(daemon, &id);
        // Any of them will do: where the local socket has gone too, the newest is not stored yet.
        daemon.run(&["logs", "--all", "--json", "-n", "5"]).stdout.contains("\"again-")
    });
}

/// Waits until `met` says yes.
#[track_caller]
fn eventually(what: &str, mut met: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !met() {
        assert!(Instant::now() < until, "{what}: not in time");
        thread::sleep(Duration::from_millis(50));
    }
}

fn store(daemon: &Daemon) -> PathBuf {
    daemon.state_dir().join("requests.db")
}

fn limit_files(pid: u32, limit: &str) -> bool {
    let done = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={limit}")]).output();
    done.is_ok_and(|done| done.status.success())
}

fn open_files(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

// File systems of their own.

/// Something mounted on a folder until it is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// Mounts; none, and a word about it, where this user may not.
    fn new(folder: &Path, args: &[&str]) -> Option<Self> {
        fs::create_dir_all(folder).expect("a folder");
        let done = Command::new("mount").args(args).arg(folder).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Self(folder.to_owned()));
        }
        println!("skipped: nothing can be mounted here");
        None
    }

    /// A small file system in memory.
    fn memory(folder: &Path, options: &str) -> Option<Self> {
        Self::new(folder, &["-t", "tmpfs", "-o", &format!("{options},mode=700"), "tmpfs"])
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Also while files in it are open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// A daemon whose state folder is a file system of its own.
#[track_caller]
fn on_memory(provider: &Provider, options: &str) -> Option<(Mounted, Daemon)> {
    let home = Home::new();
    let mounted = Mounted::memory(&home.state_dir(), options)?;
    Some((mounted, Daemon::builder().home(home).config(chain_config(&[("a", provider)])).start()))
}

// Full, read-only, gone.

#[test]
fn d243_a_full_disk_loses_records_and_no_request_and_the_log_goes_on_after_it() {
    let a = Provider::start();
    let Some((_mounted, daemon)) = on_memory(&a, "size=3m") else { return };
    ask(&daemon, 3);
    daemon.wait_logs(3);
    let filler = daemon.state_dir().join("filler");
    // As much as there is room for.
    let _ = fs::write(&filler, vec![0x5a; 3 << 20]);
    ask(&daemon, 1000);
    loses_and_goes_on(&daemon, || fs::remove_file(&filler).expect("the filler"));
    assert!(daemon.logs().len() >= 4, "what was kept before is there");
}

#[test]
fn d244_a_read_only_file_system_loses_records_and_no_request() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 3);
    daemon.wait_logs(3);
    // A copy of the folder over the folder itself, socket and all.
    let copy = daemon.home().path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    fs::set_permissions(&copy, PermissionsExt::from_mode(0o700)).expect("a private folder");
    let socket = daemon.state_dir().join("routor.sock");
    fs::hard_link(&socket, copy.join("routor.sock")).expect("the socket once more");
    fs::copy(store(&daemon), copy.join("requests.db")).expect("a copy");
    let folder = daemon.state_dir();
    let Some(over) = Mounted::new(&folder, &["--bind", "-o", "ro", &copy.display().to_string()]) else { return };
    // Nothing under the old name is there for the writer until it looks again.
    fs::remove_file(copy.join("requests.db")).expect("the copy");
    loses_and_goes_on(&daemon, || drop(over));
}

#[test]
fn d244_a_folder_in_the_logs_place_loses_records_and_no_request() {
    let a = Provider::start();
    let home = Home::new();
    let place = home.state_dir().join("requests.db");
    fs::create_dir_all(&place).expect("a folder");
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &a)])).start();
    loses_and_goes_on(&daemon, || fs::remove_dir(&place).expect("the folder"));
}

#[test]
fn d245_a_state_folder_that_is_moved_away_loses_records_and_no_request() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 3);
    daemon.wait_logs(3);
    let (here, there) = (daemon.state_dir(), daemon.home().path().join("t"));
    fs::rename(&here, &there).expect("another name");
    eventually("records are lost", || {
        ask(&daemon, 5);
        dropped(daemon.home(), &there) > 0
    });
    assert_eq!(daemon.stderr().matches(LOST).count(), 1, "{}", daemon.stderr());
    fs::rename(&there, &here).expect("its own name");
    goes_on(&daemon);
}

#[test]
fn d245_a_state_folder_that_is_deleted_is_reported_and_no_request_fails() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 3);
    daemon.wait_logs(3);
    fs::remove_dir_all(daemon.state_dir()).expect("the folder");
    eventually("it is said", || {
        ask(&daemon, 5);
        daemon.stderr().contains(LOST)
    });
    ask(&daemon, 50);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(15)), 0);
}

#[test]
fn d246_a_log_that_is_moved_away_is_made_anew() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 3);
    daemon.wait_logs(3);
    for end in ["", "-wal", "-shm"] {
        let from = format!("{}{end}", store(&daemon).display());
        let _ = fs::rename(&from, format!("{from}.1"));
    }
    goes_on(&daemon);
    assert!(daemon.logs().len() < 1000 && store(&daemon).exists());
}

#[test]
fn d251_without_free_inodes_records_are_lost_and_no_request() {
    let a = Provider::start();
    // The folder itself, the lock, the socket, and nothing for the log.
    let Some((mounted, daemon)) = on_memory(&a, "size=8m,nr_inodes=4") else { return };
    let more = mounted.0.display().to_string();
    loses_and_goes_on(&daemon, || {
        let done = Command::new("mount").args(["-o", "remount,nr_inodes=100", &more]).output().expect("a command");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    });
}

#[test]
fn d251_without_free_file_descriptors_records_are_lost_and_no_request() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut client = daemon.client();
    assert_eq!(client.request("GET", "/health", &[], "").status, 200);
    let pid = daemon.pid();
    let full = open_files(pid);
    if !limit_files(pid, &format!("{full}:")) {
        println!("skipped: the limit of another process cannot be set here");
        return;
    }
    eventually("it is said", || {
        assert_eq!(client.post_chat(UNKNOWN).status, 404);
        daemon.stderr().contains(LOST)
    });
    assert!(limit_files(pid, "500:"));
    goes_on(&daemon);
    assert!(dropped(daemon.home(), &daemon.state_dir()) > 0);
}

#[test]
fn d252_a_file_system_that_vanishes_loses_no_request() {
    let a = Provider::start();
    let Some((mounted, daemon)) = on_memory(&a, "size=8m") else { return };
    ask(&daemon, 3);
    daemon.wait_logs(3);
    drop(mounted);
    goes_on(&daemon);
    ask(&daemon, 50);
    assert!(store(&daemon).exists(), "the log is where its path says");
}

// Damaged.

#[test]
fn d248_a_log_of_random_bytes_is_put_aside_and_nothing_is_lost() {
    let a = Provider::start();
    let home = Home::new();
    let noise: Vec<u8> = (0..40_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let place = home.write("s/requests.db", noise);
    fs::set_permissions(home.state_dir(), PermissionsExt::from_mode(0o700)).expect("a private folder");
    let done = home.run(&["logs", "--all"]).expect_code(1);
    assert!(done.stderr.contains("requests.db") && !done.stderr.contains("panicked"), "{}", done.stderr);
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &a)])).start();
    ask(&daemon, 3);
    assert_eq!(daemon.wait_logs(3).len(), 3);
    assert!(daemon.stderr().contains("damaged"), "{}", daemon.stderr());
    assert!(place.with_extension("db.damaged").exists(), "it is kept");
}

#[test]
fn d248_a_log_of_a_later_version_is_left_alone_and_said() {
    let a = Provider::start();
    let home = Home::new();
    fs::create_dir(home.state_dir()).expect("a folder");
    let place = home.state_dir().join("requests.db");
    let later = Connection::open(&place).expect("a store");
    later.execute_batch("CREATE TABLE requests (a, b); PRAGMA user_version = 99").expect("another schema");
    drop(later);
    let done = home.run(&["logs", "--all"]).expect_code(1);
    assert!(done.stderr.contains("later version"), "{}", done.stderr);
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &a)])).start();
    loses_and_goes_on(&daemon, || {
        let kept: i64 =
            Connection::open(&place).and_then(|store| store.query_row("PRAGMA user_version", [], |row| row.get(0))).expect("it");
        assert_eq!(kept, 99);
        fs::remove_file(&place).expect("the file");
    });
}

#[test]
fn d248_a_record_that_cannot_be_read_does_not_hide_the_others() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 5);
    daemon.wait_logs(5);
    spoil(&daemon, &[2, 4]);
    assert_eq!(daemon.logs().len(), 3);
}

#[test]
fn d248_a_kill_in_the_middle_of_writing_leaves_a_log_that_can_be_read() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask_as(&daemon, "early");
    // At most the last second is lost, so more than that has to pass.
    let started = Instant::now();
    flood(&daemon, |_| started.elapsed() > Duration::from_millis(1300));
    let home = daemon.into_home();
    let done = home.run(&["logs", "--all", "--json", "-n", "100000"]).expect_code(0);
    assert!(done.stdout.contains("early"), "{} records", done.stdout.lines().count());
    let daemon = Daemon::builder().home(home).config(chain_config(&[("a", &a)])).start();
    goes_on(&daemon);
}

/// Cuts these records of a log short, counted from 1, which is what they are called by.
#[track_caller]
fn spoil(daemon: &Daemon, places: &[i64]) {
    let log = Connection::open(store(daemon)).expect("the log");
    let mut select = log.prepare("SELECT last, records FROM batches").expect("the batches");
    let rows = select.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).expect("them");
    let mut spoiled = 0;
    for (last, records) in rows.flatten() {
        let first = last + 1 - records.lines().count() as i64;
        let cut = |(place, line): (i64, &str)| if places.contains(&place) { line[..40].to_owned() } else { line.to_owned() };
        let changed: Vec<String> = (first..).zip(records.lines()).map(cut).collect();
        spoiled += places.iter().filter(|place| (first..=last).contains(place)).count();
        log.execute("UPDATE batches SET records = ?1 WHERE last = ?2", (changed.join("\n"), last)).expect("a change");
    }
    assert_eq!(spoiled, places.len());
}

// Slow, and too much.

/// Holds the store so that nobody else can write to it.
#[track_caller]
fn hold(daemon: &Daemon) -> Connection {
    let store = Connection::open(store(daemon)).expect("the store");
    store.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    store
}

#[test]
fn d249_a_disk_that_stands_still_delays_no_request() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 1);
    daemon.wait_logs(1);
    let held = hold(&daemon);
    let mut slowest = Duration::ZERO;
    let mut client = daemon.client();
    for _ in 0..300 {
        let started = Instant::now();
        assert_eq!(client.post_chat(support::ASK).status, 200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    held.execute_batch("ROLLBACK").expect("the lock given back");
    daemon.wait_logs(301);
}

#[test]
fn d250_a_full_queue_loses_records_counts_them_and_delays_no_request() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 1);
    daemon.wait_logs(1);
    let held = hold(&daemon);
    // More than wait for the writer at most; while it waits for the disk.
    let sent = flood(&daemon, |sent| sent >= 6000);
    let lost = dropped(daemon.home(), &daemon.state_dir());
    assert!(lost > 0, "{sent} were sent");
    held.execute_batch("ROLLBACK").expect("the lock given back");
    let all = |lost: u64| daemon.logs().len() as u64 + lost == sent as u64 + 1;
    eventually("all are kept or counted", || all(dropped(daemon.home(), &daemon.state_dir())));
}

#[test]
fn d254_two_daemons_never_share_a_log() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let path = daemon.home().write("other.toml", chain_config_with(&[("b", &a)], "[log]\nkeep_days = 1\n")).display().to_string();
    let second = daemon.run(&["serve", "--config", &path, "--port", "0"]).expect_code(1);
    assert!(second.stderr.contains(&daemon.pid().to_string()), "{}", second.stderr);
    let elsewhere = daemon.home().path().join("t").display().to_string();
    let other = daemon.spawn(&["serve", "--config", &path, "--port", "0", "--state", &elsewhere], support::Input::Null);
    let said = other.wait_stderr("listening on http://127.0.0.1:");
    let port = said.rsplit("127.0.0.1:").next().and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("a port");
    assert_eq!(post_chat(port, support::ASK.replace("auto", "b/m1")).status, 200);
    ask(&daemon, 2);
    let own = |state: &str| daemon.run(&["logs", "--all", "--json", "--state", state]).stdout.lines().count();
    eventually("each has its own", || own(&elsewhere) == 1 && own(&daemon.state_dir().display().to_string()) == 2);
    other.signal("TERM");
    assert_eq!(other.wait_exit(Duration::from_secs(10)), 0);
}

#[test]
fn d247_when_there_are_too_many_records_the_oldest_go() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[log]\nmax_size = \"1MiB\"\n");
    let daemon = Daemon::start(config.clone());
    ask_as(&daemon, "oldest");
    flood(&daemon, |sent| sent >= 8000);
    ask_as(&daemon, "newest");
    daemon.run(&["stop"]).expect_code(0);
    // A start looks at the size with its first record, and not half a minute later.
    let daemon = Daemon::builder().home(daemon.into_home()).config(config).start();
    eventually("the oldest records go", || {
        ask(&daemon, 5);
        daemon.logs().len() < 6500
    });
    let shown = |id: &str| daemon.run(&["logs", "--json", "--id", id]).stdout.contains(id);
    assert!(!shown("oldest") && shown("newest"));
    eventually("the file shrinks", || {
        ask(&daemon, 5);
        fs::metadata(store(&daemon)).is_ok_and(|about| about.len() < 2 << 20)
    });
}

#[test]
fn d247_what_is_new_stays_when_the_log_is_larger_than_it_may_be() {
    // Six fail before one answers, which makes records long.
    let failing: Vec<Provider> = (0..6).map(|_| Provider::start()).collect();
    failing.iter().for_each(|provider| {
        provider.always(Reply::status(500));
    });
    let good = Provider::start();
    let names = ["a-long-name-1", "a-long-name-2", "a-long-name-3", "a-long-name-4", "a-long-name-5", "a-long-name-6"];
    let chain: Vec<(&str, &Provider)> = names.into_iter().zip(&failing).chain([("g", &good)]).collect();
    let daemon = Daemon::start(chain_config_with(&chain, "[log]\nmax_size = \"1MiB\"\n[breaker]\nfailures = 0\n"));
    let mut client = daemon.client();
    for _ in 0..1000 {
        assert_eq!(client.post_chat(ASK).status, 200);
    }
    let home = daemon.into_home();
    let daemon = Daemon::builder().home(home).config(chain_config_with(&chain, "[log]\nmax_size = \"1MiB\"\n")).start();
    assert_eq!(post_chat(daemon.port(), ASK).status, 200);
    daemon.wait_logs(1);
    let kept = daemon.logs().len();
    assert!(kept > 300, "{kept} records are left of 1000 that need little more than 1 MiB");
}

/// The bytes of everything in a folder.
fn size(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).expect("a folder").flatten();
    files.filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum()
}

/// A request that is recorded with much to keep and for which nobody is asked.
fn long_unknown() -> String {
    format!(r#"{{"model":"{}","messages":[{{"role":"user","content":"hi"}}]}}"#, "n".repeat(256))
}

#[test]
fn d246_a_log_that_is_cut_to_nothing_goes_on() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 3);
    daemon.wait_logs(3);
    fs::File::create(store(&daemon)).expect("an empty file");
    goes_on(&daemon);
}

#[test]
fn d246_a_log_that_is_moved_away_and_made_empty_by_another_tool_goes_on_in_the_new_file() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 3);
    daemon.wait_logs(3);
    fs::rename(store(&daemon), daemon.state_dir().join("requests.db.1")).expect("another name");
    fs::File::create(store(&daemon)).expect("an empty file");
    goes_on(&daemon);
}

#[test]
fn d247_the_log_is_never_larger_than_its_cap() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config_with(&[("a", &a)], "[log]\nmax_size = \"4MiB\"\n"));
    let largest = AtomicU64::new(0);
    let (folder, body) = (daemon.state_dir(), long_unknown());
    let mut client = daemon.client();
    for number in 0..6000 {
        assert_eq!(client.post_chat(&body).status, 404);
        if number % 200 == 0 {
            largest.fetch_max(size(&folder), Ordering::SeqCst);
        }
    }
    daemon.run(&["logs"]).expect_code(0);
    let largest = largest.into_inner().max(size(&folder));
    assert!(largest <= 4 << 20, "{largest} bytes");
}

#[test]
fn d248_the_reader_says_how_many_records_it_left_out() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 5);
    daemon.wait_logs(5);
    spoil(&daemon, &[2, 4]);
    let done = daemon.run(&["logs", "--all", "--json"]).expect_code(0);
    assert_eq!(done.stdout.lines().count(), 3);
    assert!(done.stderr.contains('2') && done.stderr.contains("could not be read"), "{:?}", done.stderr);
    let page = get(daemon.port(), "/api/requests").json();
    assert_eq!((page["unreadable"].as_u64(), page["damaged"].as_bool()), (Some(2), Some(false)), "{page}");
}

/// A size that nothing but the store has an influence on: its pages.
const PAGE: usize = 16 << 10;

#[test]
fn d248_of_a_log_whose_older_half_is_damaged_the_newer_one_is_shown_and_the_rest_is_said_to_be_lost() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    let mut client = daemon.client();
    (0..400).for_each(|_| assert_eq!(client.post_chat(long_unknown()).status, 404));
    assert_eq!(daemon.wait_logs(400).len(), 400);
    let log = Connection::open(store(&daemon)).expect("the log");
    log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("all in one file");
    drop(log);
    let mut bytes = fs::read(store(&daemon)).expect("the log's bytes");
    let half = bytes.len() / 2 / PAGE * PAGE;
    bytes.get_mut(3 * PAGE..half).expect("many pages").fill(0x5a);
    fs::OpenOptions::new().write(true).open(store(&daemon)).and_then(|mut file| file.write_all(&bytes)).expect("the same file");
    let page = get(daemon.port(), "/api/requests?limit=500").json();
    let shown = page["requests"].as_array().map_or(0, Vec::len);
    assert!((1..400).contains(&shown) && page["damaged"] == true && page["next"].is_null(), "{shown}: {}", page["damaged"]);
    let done = daemon.run(&["logs", "--all", "--json", "-n", "500"]).expect_code(0);
    assert_eq!(done.stdout.lines().count(), shown);
    assert!(done.stderr.contains("damaged"), "{:?}", done.stderr);
}

#[test]
fn d249_the_log_can_be_read_while_the_disk_stands_still() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 1);
    daemon.wait_logs(1);
    let held = hold(&daemon);
    ask(&daemon, 600);
    let started = Instant::now();
    assert!(daemon.run(&["logs", "--all", "--json"]).expect_code(0).stdout.lines().count() >= 1);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    held.execute_batch("ROLLBACK").expect("the lock given back");
}

#[test]
fn d250_records_that_the_full_queue_loses_are_said_too() {
    let a = Provider::start();
    let daemon = Daemon::start(chain_config(&[("a", &a)]));
    ask(&daemon, 1);
    daemon.wait_logs(1);
    let held = hold(&daemon);
    flood(&daemon, |sent| sent >= 5500);
    held.execute_batch("ROLLBACK").expect("the lock given back");
    eventually("it is said", || {
        ask(&daemon, 1);
        daemon.stderr().contains(LOST)
    });
}

#[test]
fn d248_a_log_with_damage_among_the_old_records_stays_below_its_limit() {
    let a = Provider::start();
    let config = chain_config_with(&[("a", &a)], "[log]\nmax_size = \"1MiB\"\n");
    let daemon = Daemon::start(config.clone());
    flood(&daemon, |sent| sent > 4000);
    daemon.signal("TERM");
    assert_eq!(daemon.wait_exit(Duration::from_secs(10)), 0);
    let place = store(&daemon);
    let mut file = fs::read(&place).expect("the log");
    let page = 16 << 10;
    assert!(file.len() > 20 * page, "{} bytes", file.len());
    // What is read to write on stands in the first pages and in the last.
    file[6 * page..10 * page].fill(0);
    fs::write(&place, file).expect("the log");
    let daemon = Daemon::builder().home(daemon.into_home()).config(config).start();
    flood(&daemon, |sent| sent > 16_000);
    goes_on(&daemon);
    let taken = fs::metadata(&place).expect("the log").len();
    assert!(taken <= 5 << 18, "{taken} bytes");
}
