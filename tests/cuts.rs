//! Very many streams, cut wherever chance wants: none of them ever ends in
//! silence, mixes two models, or says more after its end.
//!
//! The environment variable `CUTS` says how many streams there are; 3,000 when
//! it is not set. With 100,000 or more, 10,000 streams are open at once, if the
//! system allows so many files.

#[path = "streams/checks.rs"]
mod checks;
#[path = "cuts/numbered.rs"]
mod numbered;
mod support;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use numbered::{Act, Numbered};
use support::events::comment;
use support::{Client, Daemon, StreamReader, content, done, event_data, finish, role, usage};

/// What chance is made of. The same number gives the same cuts.
const SEED: u64 = 0x5eed_0110;
/// How many are asked for at the same time.
const AT_ONCE: usize = 64;
const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

fn wanted() -> usize {
    std::env::var("CUTS").ok().and_then(|count| count.parse().ok()).unwrap_or(3000)
}

fn ask(number: usize) -> String {
    format!(r##"{{"model":"auto","stream":true,"messages":[{{"role":"user","content":"#{number}"}}]}}"##)
}

/// Chance for one answer.
fn dice(place: usize, number: usize) -> fastrand::Rng {
    let place = place as u64 + 1;
    fastrand::Rng::with_seed(SEED ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ place.wrapping_mul(0xd1b5_4a32_d192_ed03))
}

/// The whole answer of one provider to one number, as it goes over the wire.
struct Answer {
    raw: Vec<u8>,
    /// How many pieces of content it has.
    pieces: usize,
    /// Where each event ends on the wire, and what it is.
    events: Vec<(usize, Kind)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Piece,
    Finish,
    Other,
}

impl Answer {
    fn new(place: usize, number: usize, dice: &mut fastrand::Rng) -> Self {
        let of = |event: String| event.replace("chatcmpl-1", &format!("of-{place}"));
        let pieces = dice.usize(1..9);
        let mut texts = vec![(of(role()), Kind::Other)];
        for piece in 0..pieces {
            if dice.u8(..) < 40 {
                texts.push((comment("still here"), Kind::Other));
            }
            texts.push((of(content(&format!("{number}.{place}.{piece} "))), Kind::Piece));
        }
        texts.push((of(finish("stop")), Kind::Finish));
        if dice.bool() {
            texts.push((of(usage(9, 3)), Kind::Other));
        }
        texts.push((done(), Kind::Other));
        Self::chunked(&texts, pieces, dice)
    }

    /// The events in chunks that know nothing of where an event ends.
    fn chunked(texts: &[(String, Kind)], pieces: usize, dice: &mut fastrand::Rng) -> Self {
        let mut left = texts.iter().map(|(text, kind)| (text.len(), *kind)).peekable();
        let payload: String = texts.iter().map(|(text, _)| text.as_str()).collect();
        let (mut raw, mut events) = (HEAD.as_bytes().to_vec(), Vec::new());
        let (mut sent, mut begun) = (0, 0);
        while sent < payload.len() {
            let size = dice.usize(1..300).min(payload.len() - sent);
            raw.extend(format!("{size:x}\r\n").bytes());
            while let Some((length, kind)) = left.next_if(|(length, _)| begun + length <= sent + size) {
                begun += length;
                events.push((raw.len() + begun - sent, kind));
            }
            raw.extend(&payload.as_bytes()[sent..sent + size]);
            raw.extend(b"\r\n");
            sent += size;
        }
        raw.extend(b"0\r\n\r\n");
        Self { raw, pieces, events }
    }

    /// How many pieces are whole in the first bytes, and whether the finish is.
    fn until(&self, cut: usize) -> (usize, bool) {
        let whole = || self.events.iter().take_while(|(end, _)| *end <= cut);
        (whole().filter(|(_, kind)| *kind == Kind::Piece).count(), whole().any(|(_, kind)| *kind == Kind::Finish))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Cut {
    Close,
    Reset,
    Stall,
}

/// An answer, and where and how it is cut.
fn cut_answer(place: usize, number: usize) -> (Answer, Option<(usize, Cut)>) {
    let mut dice = dice(place, number);
    let answer = Answer::new(place, number, &mut dice);
    let kinds = [Cut::Close, Cut::Reset, Cut::Stall];
    let cut = (dice.f64() < 0.05).then(|| (dice.usize(0..answer.raw.len()), kinds[dice.usize(0..kinds.len())]));
    (answer, cut)
}

fn act(place: usize, number: usize) -> Vec<Act> {
    let (mut answer, cut) = cut_answer(place, number);
    let Some((at, how)) = cut else { return vec![Act::Write(answer.raw)] };
    answer.raw.truncate(at);
    let end = match how {
        Cut::Close => Act::Close,
        Cut::Reset => Act::Reset,
        Cut::Stall => Act::Stall,
    };
    vec![Act::Write(answer.raw), end]
}

/// How a stream ended, and whose it was.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ended {
    /// All pieces of this provider and `[DONE]`.
    Whole(usize),
    /// So many pieces of this provider and an error event.
    Interrupted(usize, usize),
    /// The answer that all providers failed.
    Failed,
}

/// What the caller must get of this number, asked from this provider on. What a
/// reset destroys on its way is up to the system, so there may be several.
fn possible(place: usize, number: usize) -> Vec<Ended> {
    if place == PROVIDERS {
        return vec![Ended::Failed];
    }
    let (answer, cut) = cut_answer(place, number);
    let Some((at, how)) = cut else { return vec![Ended::Whole(place)] };
    let (pieces, finished) = answer.until(at);
    let least = if how == Cut::Reset { 0 } else { pieces };
    let mut ends: Vec<Ended> = (least.max(1)..=pieces).map(|pieces| Ended::Interrupted(place, pieces)).collect();
    if finished {
        ends = if how == Cut::Reset { ends } else { Vec::new() };
        ends.push(Ended::Whole(place));
    }
    if least == 0 {
        ends.extend(possible(place + 1, number));
    }
    ends
}

const PROVIDERS: usize = 3;

/// Looks at every event of a stream: whose pieces it has, that they are in order
/// and without a gap, that the end is one and the last.
fn judge(number: usize, events: &[String], pieces: impl Fn(usize) -> usize) -> Result<Ended, String> {
    let (last, before) = events.split_last().ok_or("no event at all")?;
    let is_end = |event: &String| event_data(event) == "[DONE]" || event.contains("\"error\"");
    if before.iter().any(is_end) {
        return Err("something after the end".to_owned());
    }
    let text = checks::text(before);
    let place = text.split('.').nth(1).and_then(|place| place.parse().ok()).ok_or("no content")?;
    let count = text.split_whitespace().count();
    let expected: String = (0..count).map(|piece| format!("{number}.{place}.{piece} ")).collect();
    let foreign = before.iter().any(|event| event.starts_with("data") && !event.contains(&format!("\"of-{place}\"")));
    if text != expected || foreign {
        return Err(format!("not the pieces of one answer: {text}"));
    }
    match event_data(last).as_str() {
        "[DONE]" if count == pieces(place) => Ok(Ended::Whole(place)),
        "[DONE]" => Err(format!("[DONE] after {count} pieces")),
        error if error.contains("\"stream_interrupted\"") => Ok(Ended::Interrupted(place, count)),
        _ => Err("silence".to_owned()),
    }
}

/// Reads an answer to its end; gives back the connection for the next.
fn read(number: usize, mut stream: StreamReader, pieces: impl Fn(usize) -> usize) -> Result<(Ended, Client), String> {
    let ended = match stream.status {
        200 => judge(number, &stream.events(), pieces),
        502 => stream.read_to_end().contains("\"all_models_failed\"").then_some(Ended::Failed).ok_or("another 502".to_owned()),
        status => Err(format!("status {status}")),
    }?;
    let rest = stream.read_to_end();
    if !stream.ended_cleanly() || !rest.is_empty() {
        return Err(format!("no proper end: {:?}, {rest:?}", stream.broken()));
    }
    Ok((ended, stream.into_client()))
}

/// What all streams came to.
#[derive(Default, Debug)]
struct Tally {
    served: usize,
    fell_over: usize,
    interrupted: usize,
    all_failed: usize,
    exceptions: Vec<String>,
}

impl Tally {
    fn count(&mut self, number: usize, ended: &Result<Ended, String>, possible: &[Ended]) {
        match ended {
            Ok(ended) if !possible.contains(ended) => self.exceptions.push(format!("#{number}: {ended:?} instead of {possible:?}")),
            Ok(Ended::Whole(0)) => self.served += 1,
            Ok(Ended::Whole(_)) => self.fell_over += 1,
            Ok(Ended::Interrupted(..)) => self.interrupted += 1,
            Ok(Ended::Failed) => self.all_failed += 1,
            Err(problem) => self.exceptions.push(format!("#{number}: {problem}")),
        }
    }
}

/// Asks for the numbers one after the other on one connection, until there are no more.
fn ask_on_one_connection(port: u16, next: &AtomicUsize, count: usize, tally: &Mutex<Tally>) {
    let mut client = None;
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= count {
            return;
        }
        let stream = client.take().unwrap_or_else(|| Client::connect(port)).open_stream(ask(number));
        let ended = read(number, stream, |place| cut_answer(place, number).0.pieces);
        tally.lock().expect("no panic").count(number, &ended.as_ref().map(|(ended, _)| *ended).map_err(Clone::clone), &possible(0, number));
        client = ended.ok().map(|(_, client)| client);
    }
}

#[test]
fn no_stream_ever_ends_in_silence() {
    let (count, started) = (wanted(), Instant::now());
    let providers = Numbered::start(PROVIDERS, act);
    let limits = "[timeouts]\nfirst = \"2s\"\nidle = \"2s\"\n[breaker]\nfailures = 0\n";
    let daemon = Daemon::start(providers.config(limits));
    let (next, tally) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| ask_on_one_connection(daemon.port(), &next, count, &tally));
        }
    });
    let tally = tally.into_inner().expect("no panic");
    println!("{count} streams in {:?}: {tally:?}", started.elapsed());
    assert!(
        tally.exceptions.is_empty(),
        "{} of {count}: {:?}",
        tally.exceptions.len(),
        tally.exceptions.iter().take(10).collect::<Vec<_>>()
    );
    assert!(tally.fell_over > count / 200 && tally.interrupted > count / 100, "chance has cut some: {tally:?}");
    assert!(!daemon.stderr().contains("panicked"), "{}", daemon.stderr());
    assert_each_was_asked_once(&providers);
}

/// No provider got a number twice, unless its connection ended before the answer began.
fn assert_each_was_asked_once(providers: &Numbered) {
    let mut seen = providers.seen();
    seen.sort_unstable();
    let cut = |(place, number): (usize, usize)| cut_answer(place, number).1;
    let before_the_answer = |at: &(usize, Cut)| at.0 == 0 && at.1 != Cut::Stall;
    for two in seen.windows(2).filter(|two| two[0] == two[1]) {
        assert!(cut(two[0]).as_ref().is_some_and(before_the_answer), "{:?} was asked twice: {:?}", two[0], cut(two[0]));
    }
    assert!(seen.windows(3).all(|three| three[0] != three[2]), "asked three times");
}

// All at once.

/// How many streams can be open at once: each is two files here and two in the daemon.
fn at_once() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let files = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024_usize);
    let most = if wanted() >= 100_000 { 10_000 } else { 400 };
    most.min(files.saturating_sub(200) / 2)
}

/// An answer that holds after its first piece; one in a hundred is killed after that.
fn held_answer(number: usize) -> (Answer, usize, Option<(usize, Cut)>) {
    let mut dice = dice(0, number);
    let answer = Answer::new(0, number, &mut dice);
    let first = answer.events.iter().find(|(_, kind)| *kind == Kind::Piece).map_or(0, |(end, _)| *end);
    let how = if dice.bool() { Cut::Close } else { Cut::Reset };
    let cut = (number % 100 == 7).then(|| (dice.usize(first..answer.raw.len()), how));
    (answer, first, cut)
}

fn hold_and_act(_: usize, number: usize) -> Vec<Act> {
    let (answer, first, cut) = held_answer(number);
    let mut acts = vec![Act::Write(answer.raw[..first].to_vec()), Act::Hold];
    match cut {
        None => acts.push(Act::Write(answer.raw[first..].to_vec())),
        Some((at, how)) => {
            acts.push(Act::Write(answer.raw[first..at].to_vec()));
            acts.push(if how == Cut::Close { Act::Close } else { Act::Reset });
        }
    }
    acts
}

fn possible_of_held(number: usize) -> Vec<Ended> {
    let (answer, _, cut) = held_answer(number);
    let Some((at, how)) = cut else { return vec![Ended::Whole(0)] };
    let (pieces, finished) = answer.until(at);
    let least = if how == Cut::Reset { 1 } else { pieces };
    let mut ends: Vec<Ended> = (least..=pieces).map(|pieces| Ended::Interrupted(0, pieces)).collect();
    if finished {
        ends = if how == Cut::Reset { ends } else { Vec::new() };
        ends.push(Ended::Whole(0));
    }
    ends
}

#[test]
fn d110_of_many_streams_at_once_none_ends_in_silence_when_some_are_killed() {
    let (count, started) = (at_once(), Instant::now());
    let providers = Numbered::start(1, hold_and_act);
    let daemon = Daemon::start(providers.config("[timeouts]\nfirst = \"200s\"\nidle = \"200s\"\n[breaker]\nfailures = 0\n"));
    // Each is at its first content when it is there, so all are open at once in the end.
    let streams: Vec<StreamReader> = (0..count).map(|number| Client::connect(daemon.port()).open_stream(ask(number))).collect();
    assert_eq!(providers.held(), count);
    providers.release();
    let mut tally = Tally::default();
    for (number, stream) in streams.into_iter().enumerate() {
        let ended = read(number, stream, |_| held_answer(number).0.pieces).map(|(ended, _)| ended);
        tally.count(number, &ended, &possible_of_held(number));
    }
    println!("{count} streams at once in {:?}: {tally:?}", started.elapsed());
    assert!(tally.exceptions.is_empty(), "{:?}", tally.exceptions);
    assert!(tally.interrupted > 0 && tally.served >= count * 98 / 100, "{tally:?}");
}

// Every split.

/// 4 KB of everything that an event stream may hold.
fn sample() -> Vec<u8> {
    let odd = [
        content("grüße 😀 \u{2028}"),
        content("x").replace('\n', "\r\n"),
        content("y").replace('\n', "\r"),
        "id: 7\r\nretry: 5\r\nunknown\r\ndata:{\"choices\":[{\"index\":0,\r\ndata: \"delta\":{\"content\":\"é\"}}]}\r\n\r\n".to_owned(),
        comment("OPENROUTER PROCESSING: data: [DONE]"),
        "\n\r\n".to_owned(),
    ];
    let end = [finish("stop"), usage(9, 3), "data:[DONE]\r\n\r\n".to_owned()].concat();
    let mut sample = format!("\u{feff}{}", role());
    for event in odd.iter().cycle() {
        let room = 4096 - sample.len() - end.len();
        if room < event.len() + 3 {
            // A comment fills it up to the byte.
            sample.push_str(&format!(":{}\n\n", "f".repeat(room - 3)));
            break;
        }
        sample.push_str(event);
    }
    (sample + &end).into_bytes()
}

fn split_at(sample: &[u8], number: usize) -> Vec<Act> {
    let (first, second) = sample.split_at(number);
    let chunk = |part: &[u8]| [format!("{:x}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat();
    let mut parts: Vec<Vec<u8>> = [first, second].into_iter().filter(|part| !part.is_empty()).map(chunk).collect();
    parts[0].splice(0..0, HEAD.bytes());
    parts.push(b"0\r\n\r\n".to_vec());
    parts.into_iter().map(Act::Write).collect()
}

/// What a provider's answer, split there, comes to at the caller.
fn answer_split_at(number: usize, client: Client) -> (String, Client) {
    let mut stream = client.open_stream(ask(number));
    let got = stream.read_to_end();
    (got, stream.into_client())
}

#[test]
fn d100_a_stream_is_the_same_wherever_it_is_split() {
    let sample = sample();
    let size = sample.len();
    assert_eq!(size, 4096);
    let providers = Numbered::start(1, move |_, number| split_at(&sample, number));
    let daemon = Daemon::start(providers.config(""));
    let (whole, _) = answer_split_at(0, daemon.client());
    assert!(whole.ends_with("data: [DONE]\n\n") && whole.matches("[DONE]").count() > 1 && !whole.contains("retry"), "{whole}");
    assert_eq!(checks::dones(&daemon.client().open_stream(ask(0)).events()), 1);
    let next = AtomicUsize::new(1);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = daemon.client();
                loop {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    if number >= size {
                        return;
                    }
                    let (got, same) = answer_split_at(number, client);
                    assert_eq!(got, whole, "split at {number}");
                    client = same;
                }
            });
        }
    });
    assert_eq!(providers.seen().len(), size + 1, "each was asked for once");
}
