//! HTTP/2 by hand, for what no library lets a server do.

use hyper::Version;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{CHAT, Seen, State, completion, lock};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const PREFACE: usize = 24;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// How a connection goes on when its answers are used up.
#[derive(Clone, Copy, PartialEq)]
pub enum End {
    /// The next request is answered with GOAWAY(NO_ERROR), which names the last
    /// stream before it, and a close: nobody looked at it.
    Unseen,
    /// The same, but the GOAWAY names its stream: it may have been carried out.
    Seen,
    /// Nothing is read any more, as from a process that was stopped.
    Frozen,
    /// The next request gets no answer, and the ping that follows
    /// GOAWAY(ENHANCE_YOUR_CALM) and a close.
    Calm,
}

const NO_ERROR: u32 = 0;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Answers `after` chat calls and ends as it should.
pub(super) async fn by_hand(
    state: &State,
    connection: usize,
    mut tls: TlsStream<TcpStream>,
    after: usize,
    end: End,
) -> std::io::Result<()> {
    tls.read_exact(&mut [0; PREFACE]).await?;
    tls.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
    let note = |path: &str| lock(&state.seen).push(Seen { path: path.to_owned(), version: Version::HTTP_2, connection });
    let (mut answered, mut last) = (0, 0);
    loop {
        if answered == after && end == End::Frozen {
            std::future::pending::<()>().await;
        }
        let mut head = [0; 9];
        tls.read_exact(&mut head).await?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        tls.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let whole = head[3] == DATA && head[4] & END_STREAM != 0;
        match head[3] {
            SETTINGS if head[4] & ACK == 0 => tls.write_all(&frame(SETTINGS, ACK, 0, &[])).await?,
            HEADERS if answered == after && end == End::Unseen => {
                note("GOAWAY");
                return go_away(tls, last, NO_ERROR).await;
            }
            DATA if whole && answered == after && end == End::Seen => {
                note("GOAWAY");
                return go_away(tls, stream, NO_ERROR).await;
            }
            PING if head[4] & ACK == 0 && answered == after && end == End::Calm => {
                note("GOAWAY");
                return go_away(tls, last + 2, ENHANCE_YOUR_CALM).await;
            }
            PING if head[4] & ACK == 0 => tls.write_all(&frame(PING, ACK, 0, &payload)).await?,
            DATA if whole && answered < after => {
                (answered, last) = (answered + 1, stream);
                note(CHAT);
                // `:status: 200` of the static table, `content-type` (31) with its value.
                let block = [&[0x88, 0x5f, 16], b"application/json".as_slice()].concat();
                tls.write_all(&frame(HEADERS, END_HEADERS, stream, &block)).await?;
                tls.write_all(&frame(DATA, END_STREAM, stream, completion().as_bytes())).await?;
            }
            _ => {}
        }
    }
}

/// Says so, and closes when the peer has.
async fn go_away(mut tls: TlsStream<TcpStream>, last: u32, reason: u32) -> std::io::Result<()> {
    tls.write_all(&frame(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())).await?;
    tls.shutdown().await?;
    let mut sink = [0; 4096];
    while tls.read(&mut sink).await? > 0 {}
    Ok(())
}
